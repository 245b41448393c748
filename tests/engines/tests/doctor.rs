//! The promise: what real database servers say first is understood, with nothing but the way to them.

use pinlink::{Client, Stage, Target};
use pinlink_engines::{Engine, Server};

#[test]
fn a_database_server_is_known_by_its_first_words() {
    for (engine, scheme, words) in [
        (Engine::Postgres, "postgresql", "PostgreSQL's protocol, "),
        (Engine::MariaDb, "mysql", "MySQL's greeting, version "),
    ] {
        let server = Server::shared(engine);
        let target = Target::parse(&format!("{scheme}://127.0.0.1:{}", server.port())).unwrap();
        let diagnosis = Client::builder().allow_addresses(["127.0.0.0/8"]).doctor(&[target]).unwrap();
        assert!(diagnosis.is_well(), "{diagnosis}");
        let answer = diagnosis.targets[0].steps.iter().find(|step| step.stage == Stage::Answer).unwrap();
        assert!(answer.detail.starts_with(words), "{diagnosis}");
    }
}
