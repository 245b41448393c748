//! The control API: what the Rust methods of [`crate::Network`] do, over HTTP and JSON, for other processes and languages.
//!
//! Owns: the paths and their shapes. `GET` `/plan` `/counts` `/queries` `/sink` `/seen` `/complaints` `/tunnels`
//! `/faults`; `POST /faults` with a fault or `{"fault": …, "times": n, "name": …}`; `DELETE /faults`; `POST /reset`;
//! `POST /stop`. Decides nothing.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};
use tokio::net::TcpListener;

use crate::addresses::Addresses;
use crate::counts::{Complaint, Counts, Query, Seen};
use crate::fault::Injection;
use crate::network::Core;
use crate::sink::Write;
use crate::tally::TunnelRequest;

/// How long `POST /stop` leaves for its own answer.
const LAST_WORD: Duration = Duration::from_millis(20);

type Shared = State<Arc<Core>>;

pub(crate) async fn serve(listener: TcpListener, core: Arc<Core>) {
    let router = Router::new()
        .route("/plan", get(plan))
        .route("/counts", get(counts))
        .route("/queries", get(queries))
        .route("/sink", get(sink))
        .route("/seen", get(seen))
        .route("/complaints", get(complaints))
        .route("/tunnels", get(tunnels))
        .route("/faults", get(faults).post(inject).delete(heal))
        .route("/reset", post(reset))
        .route("/stop", post(stop))
        .with_state(core);
    // Ends with the runtime; accept errors are retried inside.
    _ = axum::serve(listener, router).await;
}

async fn plan(State(core): Shared) -> Json<Addresses> {
    Json(core.addresses.clone())
}

async fn counts(State(core): Shared) -> Json<Counts> {
    Json(core.counts())
}

async fn queries(State(core): Shared) -> Json<Vec<Query>> {
    Json(core.book.queries())
}

async fn sink(State(core): Shared) -> Json<Vec<Write>> {
    Json(core.writes())
}

async fn seen(State(core): Shared) -> Json<Vec<Seen>> {
    Json(core.book.seen())
}

async fn complaints(State(core): Shared) -> Json<Vec<Complaint>> {
    Json(core.book.complaints())
}

async fn tunnels(State(core): Shared) -> Json<Vec<TunnelRequest>> {
    Json(core.tally.requests())
}

async fn faults(State(core): Shared) -> Json<Vec<Injection>> {
    Json(core.faults.active())
}

/// On a thread of its own: opening and closing ports is waited for, and the workers must be free to do it.
async fn apart(act: impl FnOnce() + Send + 'static) -> StatusCode {
    match tokio::task::spawn_blocking(act).await {
        Ok(()) => StatusCode::NO_CONTENT,
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

/// Takes the body as text: whoever sends JSON by hand need not say that it is JSON.
async fn inject(State(core): Shared, body: String) -> (StatusCode, String) {
    let wanted = serde_json::from_str(&body).map_err(|error| error.to_string());
    match wanted.and_then(Injection::from_json) {
        Ok(injection) => (apart(move || core.inject(injection)).await, String::new()),
        Err(why) => (StatusCode::UNPROCESSABLE_ENTITY, why),
    }
}

async fn heal(State(core): Shared) -> StatusCode {
    apart(move || core.heal()).await
}

async fn reset(State(core): Shared) -> StatusCode {
    core.reset();
    StatusCode::NO_CONTENT
}

async fn stop(State(core): Shared) -> StatusCode {
    // A moment later, so that this answer still leaves.
    tokio::spawn(async move {
        tokio::time::sleep(LAST_WORD).await;
        core.stop();
    });
    StatusCode::NO_CONTENT
}
