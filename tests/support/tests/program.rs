//! The program as other languages use it: one line of JSON, then alive until its standard input closes or it is told.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};

use pinlink_box::{Addresses, Fault, OverCap};

fn launch(options: &[&str]) -> (Child, BufReader<std::process::ChildStdout>) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pinlink-box"));
    let mut child = command.args(options).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("the program");
    let output = BufReader::new(child.stdout.take().expect("its output"));
    (child, output)
}

fn ready(output: &mut impl BufRead) -> Addresses {
    let mut line = String::new();
    output.read_line(&mut line).expect("a line");
    serde_json::from_str(&line).expect("addresses")
}

fn ask(addresses: &Addresses, request: &str) -> String {
    let mut stream = TcpStream::connect(addresses.control).expect("the control API");
    stream.write_all(format!("{request} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n").as_bytes()).expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    answer
}

#[test]
fn it_ends_when_its_standard_input_closes() {
    let faults = ["--fault", "silent", "--fault", "{\"ttl\": 0}"];
    let limits = ["--cap", "3", "--over-cap", "reset", "--h2-max-streams", "7", "--proxy-auth", "box:a:b"];
    let (mut child, mut output) = launch(&[&["--plan", "-"], &faults[..], &limits[..]].concat());
    child.stdin.as_mut().expect("its input").write_all(b"{\"names\": [\"a.example\"]}\n").expect("a plan");
    let addresses = ready(&mut output);
    assert_eq!(addresses.plan.names, ["a.example"]);
    assert_eq!((addresses.plan.proxy.cap, addresses.plan.proxy.over_cap), (Some(3), OverCap::Reset));
    assert_eq!(addresses.plan.h2_max_streams, Some(7));
    assert_eq!(addresses.plan.proxy_auth, Some(("box".to_owned(), "a:b".to_owned())));
    let faults = ask(&addresses, "GET /faults");
    assert!(faults.ends_with("[{\"fault\":\"silent\"},{\"fault\":{\"ttl\":0}}]"), "{faults}");
    assert!(addresses.ca_file.exists());
    drop(child.stdin.take());
    assert!(child.wait().expect("its end").success());
    assert!(!addresses.ca_file.exists());
}

#[test]
fn it_ends_when_told() {
    let (mut child, mut output) = launch(&[]);
    let addresses = ready(&mut output);
    // Held, or its end would be the closed input's doing.
    let input = child.stdin.take();
    assert!(ask(&addresses, "POST /stop").starts_with("HTTP/1.1 204"));
    assert!(child.wait().expect("its end").success());
    assert!(!addresses.ca_file.exists());
    drop(input);
}

#[test]
fn help_lists_every_fault_with_its_id() {
    let (mut child, mut output) = launch(&["--help"]);
    let mut help = String::new();
    output.read_to_string(&mut help).expect("help");
    child.wait().expect("its end");
    for row in Fault::ALL {
        assert!(help.contains(row.name) && help.contains(row.ids), "{}", row.name);
    }
}
