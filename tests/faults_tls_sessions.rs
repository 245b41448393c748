//! FAULTS section 3, what happens inside a session: bodies that end without close_notify (L7), floods of records that say
//! nothing (L9), alerts and flipped bits in the middle (L15).
//!
//! A [`Peer`] plays each of them to blocking and async callers and to requests that may be repeated and that may not. After
//! the handshake the script encrypts, so that what it says is what a session may hold and no server would send.

mod common;

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use common::raw::{FINE, Peer};
use common::session::{Session, Trust, breaks, meets};
use common::survival::{Ask, every_call};
use common::{BOUNDED, eventually, everything_said};
use pinlink::{Delivery, Kind, Reason};
use rustls::ContentType;

#[test]
fn l7_a_body_of_known_length_needs_no_close_notify_and_any_other_does() {
    let trust = Trust::new();
    for (answer, is_whole) in [
        (FINE, true),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", true),
        ("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nhello", false),
        ("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nhello", false),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", false),
    ] {
        for (caller, ask) in every_call() {
            let peer = Peer::over_tls(trust.authority.right(), move |mut session, wire| {
                session.request(wire)?;
                session.say(answer)?;
                // Past the session, which therefore says no close_notify.
                session.tls.sock.shutdown(std::net::Shutdown::Write)?;
                session.until_closed()
            });
            if is_whole {
                let client = trust.client(&peer).build().unwrap();
                let answer = caller.send(&client, &ask.request(&peer.url("https", "/asked"))).unwrap();
                assert_eq!((answer.text().unwrap(), answer.trace().attempts), ("hello", 1));
                peer.recovers(&client, &peer.url("https", "/after"));
            } else {
                let failure = ask.broken(Reason::ProtocolIncomplete, 3);
                meets(caller, ask, &peer, trust.client(&peer), failure);
            }
        }
    }
}

/// What is sent over and over inside a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flood {
    KeyUpdates,
    Tickets,
    EmptyRecords,
    Warnings,
}

impl Flood {
    const ALL: [Flood; 4] = [Flood::KeyUpdates, Flood::Tickets, Flood::EmptyRecords, Flood::Warnings];

    /// Until the client has had enough; says when the first of it is on its way.
    fn play(self, mut session: Session, begun: impl Fn()) -> io::Result<()> {
        // A ticket of one byte (RFC 8446 4.6.1).
        let ticket = [4, 0, 0, 14, 0, 0, 28, 32, 0, 0, 0, 0, 0, 0, 1, 7, 0, 0];
        let (kind, content) = match self {
            Flood::KeyUpdates => loop {
                for _ in 0..64 {
                    session.tls.conn.refresh_traffic_keys().map_err(io::Error::other)?;
                }
                session.tls.flush()?;
                begun();
            },
            Flood::Tickets => (ContentType::Handshake, &ticket[..]),
            Flood::EmptyRecords => (ContentType::ApplicationData, &[][..]),
            // user_canceled, which says nothing and ends nothing.
            Flood::Warnings => (ContentType::Alert, &[1, 90][..]),
        };
        let mut records = session.into_records();
        loop {
            let many: Vec<u8> = (0..256).flat_map(|_| records.sealed(kind, content)).collect();
            records.socket.write_all(&many)?;
            begun();
        }
    }
}

#[test]
fn l9_a_flood_instead_of_an_answer_ends_the_session() {
    let trust = Trust::new();
    for (flood, (caller, ask)) in Flood::ALL.into_iter().flat_map(|flood| every_call().map(move |call| (flood, call))) {
        let peer = Peer::over_tls(trust.authority.right(), move |mut session, wire| {
            session.request(wire)?;
            flood.play(session, || ())
        });
        let builder = trust.client(&peer).timeout(Duration::from_millis(800));
        if flood == Flood::Tickets {
            // Each of them is in order, so either their number is too much or the call's time is over.
            let client = builder.build().unwrap();
            let begun = Instant::now();
            let error = caller.send(&client, &ask.request(&peer.url("https", "/asked"))).unwrap_err();
            assert!(begun.elapsed() < BOUNDED, "{caller:?} {ask:?}: {error}");
            let text = everything_said(&error);
            let expected = ["Tls.Protocol", "Limit.Flood", "Timeout.Total"];
            assert!(expected.iter().any(|reason| text.contains(reason)), "{caller:?} {ask:?}: {error}");
            assert_eq!((error.delivery(), error.attempts()), (Delivery::Unknown, 1), "{error}");
            assert_eq!((peer.connections(), client.stats().connections_live), (1, 0), "{error}");
            peer.recovers(&client, &peer.url("https", "/after"));
        } else {
            meets(caller, ask, &peer, builder, ask.lost(Reason::TlsProtocol, 1));
        }
    }
}

#[test]
fn l9_a_flood_inside_a_body_ends_the_session() {
    let trust = Trust::new();
    for (flood, (caller, ask)) in [Flood::KeyUpdates, Flood::EmptyRecords, Flood::Warnings]
        .into_iter()
        .flat_map(|flood| every_call().map(move |call| (flood, call)))
    {
        let peer = Peer::over_tls(trust.authority.right(), move |mut session, wire| {
            session.request(wire)?;
            session.say("HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\nhello")?;
            flood.play(session, || ())
        });
        let error = breaks(caller, ask, &peer, trust.client(&peer).timeout(Duration::from_millis(800)));
        assert!(everything_said(&error).contains("Tls.Protocol"), "{flood:?} {caller:?} {ask:?}: {error}");
    }
}

#[test]
fn l9_a_flood_on_an_idle_connection_costs_the_next_request_nothing() {
    let trust = Trust::new();
    for (flood, (caller, ask)) in Flood::ALL.into_iter().flat_map(|flood| every_call().map(move |call| (flood, call))) {
        let (is_idle, is_flooded) = (Arc::<AtomicBool>::default(), Arc::<AtomicBool>::default());
        let (wanted, begun) = (Arc::clone(&is_idle), Arc::clone(&is_flooded));
        let peer = Peer::over_tls(trust.authority.right(), move |mut session, wire| {
            session.request(wire)?;
            session.say(FINE)?;
            if wire.number == 0 {
                eventually("the connection is idle", || wanted.load(Ordering::SeqCst));
                // Not with the first round: what was written a moment ago may still be on its way.
                let rounds = AtomicUsize::new(0);
                return flood.play(session, || {
                    begun.store(rounds.fetch_add(1, Ordering::SeqCst) > 20, Ordering::SeqCst);
                });
            }
            session.until_closed()
        });
        let client = trust.client(&peer).timeout(Duration::from_millis(1500)).build().unwrap();
        assert_eq!(caller.send(&client, &ask.request(&peer.url("https", "/1"))).unwrap().status(), 200);
        is_idle.store(true, Ordering::SeqCst);
        eventually("the flood is there", || is_flooded.load(Ordering::SeqCst));
        let answer = caller.send(&client, &ask.request(&peer.url("https", "/2")));
        let answer = answer.unwrap_or_else(|error| panic!("{flood:?} {caller:?} {ask:?}: {error}"));
        let told = (answer.status(), answer.trace().attempts, answer.trace().reused);
        assert_eq!(told, (200, 1, false), "{flood:?} {caller:?} {ask:?}");
        assert_eq!((peer.requests("/1"), peer.requests("/2")), (1, 1), "{flood:?} {caller:?} {ask:?}");
        client.close();
        let client = trust.client(&peer).build().unwrap();
        peer.recovers(&client, &peer.url("https", "/after"));
    }
}

#[test]
fn l15_a_fatal_alert_instead_of_an_answer_or_inside_it_is_named() {
    let trust = Trust::new();
    for (alert, name) in
        [(20, "BadRecordMac"), (40, "HandshakeFailure"), (80, "InternalError"), (10, "UnexpectedMessage")]
    {
        for (caller, ask) in every_call() {
            let config = trust.authority.right();
            let peer = Peer::over_tls(Arc::clone(&config), move |mut session, wire| {
                session.request(wire)?;
                let mut records = session.into_records();
                records.say(ContentType::Alert, &[2, alert])?;
                records.until_closed()
            });
            let error = meets(caller, ask, &peer, trust.client(&peer), ask.lost(Reason::TlsAlert, 1));
            let said = everything_said(&error);
            assert!(said.contains("Tls.Alert") && said.contains(name), "{said}");

            let peer = Peer::over_tls(config, move |mut session, wire| {
                session.request(wire)?;
                session.say("HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\nhello")?;
                let mut records = session.into_records();
                records.say(ContentType::Alert, &[2, alert])?;
                records.until_closed()
            });
            let error = breaks(caller, ask, &peer, trust.client(&peer));
            assert!(everything_said(&error).contains(name), "{error}");
        }
    }
}

#[test]
fn l15_one_flipped_bit_ends_the_session() {
    let trust = Trust::new();
    for (caller, ask) in every_call() {
        let peer = Peer::over_tls(trust.authority.right(), |mut session, wire| {
            session.request(wire)?;
            let mut records = session.into_records();
            let mut answer = records.sealed(ContentType::ApplicationData, FINE.as_bytes());
            answer[20] ^= 1;
            records.socket.write_all(&answer)?;
            records.until_closed()
        });
        let client = trust.client(&peer).build().unwrap();
        let error = caller.send(&client, &ask.request(&peer.url("https", "/asked"))).unwrap_err();
        let kind = if ask == Ask::Post { Kind::Write } else { Kind::Tls };
        assert_eq!((error.kind(), error.delivery()), (kind, Delivery::Unknown), "{error}");
        assert_eq!((error.attempts(), peer.requests("/asked")), (1, 1), "{error}");
        peer.recovers(&client, &peer.url("https", "/after"));
    }
}
