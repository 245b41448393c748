//! The way of a write: prepared, sent until it is settled, and asked about where it is not.
//!
//! It owns the order: spool, fingerprint, guard, send, conclude, ask. What an answer means and which question
//! follows is `write`'s to say; sending again under the same key, `exchange`'s. Every wait is within the call's
//! `timeout`, the questions included.

use std::future::poll_fn;
use std::sync::{Arc, MutexGuard};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use futures_util::stream;
use ring::digest::{Context, SHA256};

use crate::body::{Content, Source};
use crate::config::FORGOTTEN_MARGIN;
use crate::drive;
use crate::error::{Delivery, Error, Outcome, Phase, Reason, Result};
use crate::exchange::Core;
use crate::key::{Key, sha256};
use crate::memory::{Admission, Memory};
use crate::profile::{Meaning, Profile};
use crate::request::{Keying, Request};
use crate::response::Response;
use crate::retry;
use crate::upload::{UNREADABLE, Upload};
use crate::write::{Batch, Conclusion, Fingerprint, Prepared, Write, Written, label};

impl Core {
    /// Writes, and says what became of it.
    pub(crate) async fn write(&self, write: &Write) -> Result<Written> {
        let begun = Instant::now();
        let timeout = write.request().deadline_after().unwrap_or(self.config.timeout);
        let mut prepared = self.prepare(write, begun + timeout).await?;
        let mut conclusion = match prepared.forgotten.take() {
            Some(error) => prepared.unknown(error),
            None => {
                let result = self.call(&prepared.request, Some(begun + sending(timeout, write.verifies()))).await;
                self.conclude(&prepared, result)
            }
        };
        loop {
            match conclusion {
                Conclusion::Done(done) => return done,
                Conclusion::Ask(question) => {
                    let answer = self.call(&question.request, Some(begun + timeout)).await;
                    conclusion = prepared.settle(*question, answer);
                }
            }
        }
    }

    /// Many writes, as [`Core::map`] sends them: an outcome for each, in their order.
    pub(crate) fn write_all(self: &Arc<Self>, writes: &[Write]) -> Vec<Result<Written>> {
        let (begun, timeout) = (Instant::now(), self.config.timeout);
        let mut outcomes: Vec<Option<Result<Written>>> = vec![None; writes.len()];
        let (mut rows, mut prepared, mut requests, mut conclusions) = (vec![], vec![], vec![], vec![]);
        for (row, write) in writes.iter().enumerate() {
            match drive::block_on_call(self.prepare(write, begun + timeout)) {
                Ok(mut ready) => {
                    rows.push(row);
                    match ready.forgotten.take() {
                        Some(error) => conclusions.push((prepared.len(), ready.unknown(error))),
                        None => requests.push((prepared.len(), ready.request.clone())),
                    }
                    prepared.push(ready);
                }
                // Nothing has been sent, and nobody waits for it any more.
                Err(error) if error.reason() == Reason::Canceled => {
                    for ready in prepared {
                        self.end(&ready, false, false);
                    }
                    return writes.iter().map(|_| Err(error.clone().with_delivery(Delivery::NotSent))).collect();
                }
                Err(error) => outcomes[row] = Some(Err(error)),
            }
        }
        let sent = begun + sending(timeout, writes.iter().any(Write::verifies));
        let (sent_rows, requests): (Vec<usize>, Vec<Request>) = requests.into_iter().unzip();
        let answers = self.map_until(&requests, sent, &mut |_, _| {});
        let concluded = |(index, answer): (usize, _)| (index, self.conclude(&prepared[index], answer));
        conclusions.extend(sent_rows.into_iter().zip(answers).map(concluded));
        while !conclusions.is_empty() {
            let mut questions = Vec::new();
            for (index, conclusion) in conclusions {
                match conclusion {
                    Conclusion::Done(done) => outcomes[rows[index]] = Some(done),
                    Conclusion::Ask(question) => questions.push((index, question)),
                }
            }
            let asked: Vec<Request> = questions.iter().map(|(_, question)| question.request.clone()).collect();
            let answers = self.map_until(&asked, begun + timeout, &mut |_, _| {});
            conclusions = questions
                .into_iter()
                .zip(answers)
                .map(|((index, question), answer)| (index, prepared[index].settle(*question, answer)))
                .collect();
        }
        outcomes.into_iter().map(|outcome| outcome.expect("every write was refused or concluded")).collect()
    }

    /// Many writes in one request, again without those that are done, until all are or the time is over.
    pub(crate) async fn write_batch(&self, batch: &Batch) -> Vec<Result<Written>> {
        let begun = Instant::now();
        let deadline = begun + self.config.timeout;
        let mut outcomes: Vec<Option<Result<Written>>> = vec![None; batch.items().len()];
        let mut admitted = Vec::new();
        // Which items an earlier try may have done, and whether any try has left.
        let mut doubtful = vec![false; outcomes.len()];
        let mut forgotten_at: Option<Instant> = None;
        for (index, (key, body)) in batch.items().iter().enumerate() {
            match self.admit(key, Some(Fingerprint(sha256(body))), batch.remembers_for()) {
                Ok(admitted_as) => {
                    admitted.push(index);
                    doubtful[index] = admitted_as.is_doubtful;
                    forgotten_at = forgotten_at.into_iter().chain(admitted_as.forgotten_at).min();
                    outcomes[index] = admitted_as.forgotten.map(Err);
                }
                Err(error) => outcomes[index] = Some(Err(error)),
            }
        }
        let keying = || Keying { profile: Profile::idempotent(), forgotten_at, is_doubtful: false };
        let mut has_left = false;
        let mut round = 1;
        while outcomes.iter().any(Option::is_none) {
            let open: Vec<usize> = (0..outcomes.len()).filter(|index| outcomes[*index].is_none()).collect();
            let items: Vec<(Key, Bytes)> = open.iter().map(|index| batch.items()[*index].clone()).collect();
            // Each item's key is in the body, so the whole may be sent again.
            let request = batch.compose(&items).keyed(keying());
            let answer = self.call(&request, Some(deadline)).await;
            has_left |= !matches!(&answer, Err(error) if error.delivery() == Delivery::NotSent);
            let response = match answer {
                Ok(response) => response,
                Err(error) => {
                    let is_lost = error.delivery() != Delivery::NotSent;
                    for index in open {
                        let is_unknown = is_lost || doubtful[index];
                        outcomes[index] = Some(Err(if is_unknown { lost(error.clone()) } else { error.clone() }));
                    }
                    break;
                }
            };
            let is_doubtful = response.trace().is_doubtful;
            open.iter().for_each(|index| doubtful[*index] |= is_doubtful);
            let Some(fates) = batch.read(&response, items.len()).filter(|_| response.is_success()) else {
                for index in open {
                    outcomes[index] = Some(Err(unreadable(&request, &response, doubtful[index])));
                }
                break;
            };
            let at = Instant::now() + self.pause(round);
            let (has_time, has_tries) = (at < deadline, round < self.config.max_attempts);
            for (index, fate) in open.into_iter().zip(fates) {
                let end = match fate.meaning {
                    Meaning::Applied => Ok(Written::new(Outcome::Applied, response.clone())),
                    Meaning::AlreadyApplied | Meaning::Exists => {
                        Ok(Written::new(Outcome::AlreadyApplied, response.clone()))
                    }
                    // As with a single write: a twin is waited for, and what failed has its tries.
                    Meaning::InProgress if has_time => {
                        doubtful[index] = true;
                        continue;
                    }
                    Meaning::Again if has_time && has_tries => {
                        doubtful[index] |= fate.status >= 500;
                        continue;
                    }
                    meaning => Err(refused(&request, &response, meaning, fate.status, doubtful[index])),
                };
                outcomes[index] = Some(end);
            }
            round += 1;
            if outcomes.iter().any(Option::is_none) {
                drive::sleep_until(at).await;
            }
        }
        let outcomes: Vec<Result<Written>> =
            outcomes.into_iter().map(|outcome| outcome.expect("the last round ends every item")).collect();
        for index in admitted {
            self.memory().end(&batch.items()[index].0, has_left, may_be_done(&outcomes[index]));
        }
        outcomes
    }

    /// A wait between two rounds of a batch.
    fn pause(&self, round: usize) -> Duration {
        let ceiling = self.config.backoff_base * (1 << round.min(16));
        retry::full_jitter(ceiling.min(self.config.backoff_max), fastrand::f64())
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Everything that can be said of a write before it is sent; nothing has been sent when it fails.
    async fn prepare<'a>(&self, write: &'a Write, deadline: Instant) -> Result<Prepared<'a>> {
        write.check()?;
        let late = || {
            let detail = "the request's body did not come from its source in time";
            Error::new(Reason::TimeoutTotal, Phase::Queue, detail).with_host(write.request().authority())
        };
        let reading = read(write.request().content(), self.config.max_spool.0, deadline);
        let read = drive::before(deadline, reading).await.unwrap_or_else(|| Err(late()));
        let (content, fingerprint) = read.map_err(|error| self.doubted(write, error))?;
        let label = label(write.key(), fingerprint);
        let (request, is_named) = write.placed(write.request().clone().with_content(content), &label)?;
        let mut admitted = match write.key() {
            Some(key) => self
                .admit(key, fingerprint, write.profile().remembers_for())
                .map_err(|error| error.with_host(request.authority()))?,
            None => Admitted::default(),
        };
        let (is_doubtful, forgotten_at) = (admitted.is_doubtful, admitted.forgotten_at);
        let forgotten = admitted.forgotten.take().map(|error| error.with_host(request.authority()));
        if let (Some(key), Some(_)) = (write.key(), &forgotten) {
            self.memory().end(key, true, true);
        }
        // A keyless write that is not repeatable by its method stays what it is: sent once.
        let is_repeatable = write.key().is_some() || request.is_idempotent();
        let keying = Keying { profile: write.profile().clone(), forgotten_at, is_doubtful };
        let request = if is_repeatable { request.keyed(keying) } else { request };
        Ok(Prepared { write, request, is_named, label, fingerprint, is_doubtful, forgotten })
    }

    /// Notes a write that is about to be sent, and says what this process knows of earlier ones under its key.
    fn admit(&self, key: &Key, fingerprint: Option<Fingerprint>, memory: Duration) -> Result<Admitted> {
        let now = Instant::now();
        let (first_sent, is_doubtful) = match self.memory().admit(key, fingerprint.as_ref().map(Fingerprint::half), now)
        {
            Admission::New => (now, false),
            Admission::Known { first_sent, is_doubtful } => (first_sent, is_doubtful),
            Admission::Mismatch => {
                let detail = format!("this process has sent another body under the same key ({key})");
                return Err(Error::new(Reason::WriteMismatch, Phase::Configure, detail));
            }
        };
        let forgotten_at = first_sent.checked_add(memory - (memory / 10).min(FORGOTTEN_MARGIN));
        let forgotten = forgotten_at.is_some_and(|at| now >= at && first_sent < now).then(|| {
            let detail = format!(
                "it was first sent {:?} ago, and the target remembers a key for {memory:?}: sent again it might be done twice",
                now.duration_since(first_sent)
            );
            Error::new(Reason::WriteOutcomeUnknown, Phase::Queue, detail).with_delivery(Delivery::Unknown)
        });
        Ok(Admitted { forgotten_at, is_doubtful, forgotten })
    }

    /// What goes wrong before a write is sent, where an earlier call may have done it.
    fn doubted(&self, write: &Write, error: Error) -> Error {
        match write.key() {
            Some(key) if self.memory().may_be_done(key) => lost(error.with_host(write.request().authority())),
            _ => error,
        }
    }

    fn conclude(&self, prepared: &Prepared<'_>, result: Result<Response>) -> Conclusion {
        let has_left = !matches!(&result, Err(error) if error.delivery() == Delivery::NotSent);
        let conclusion = prepared.conclude(result);
        let is_refused = matches!(&conclusion, Conclusion::Done(done) if !may_be_done(done));
        self.end(prepared, has_left, !is_refused);
        conclusion
    }

    fn end(&self, prepared: &Prepared<'_>, has_left: bool, may_be_done: bool) {
        if let Some(key) = prepared.write.key() {
            self.memory().end(key, has_left, may_be_done);
        }
    }
}

/// What this process knows of a key when a write is sent under it.
#[derive(Default)]
struct Admitted {
    forgotten_at: Option<Instant>,
    is_doubtful: bool,
    /// Why it is not sent, where the target may have forgotten the key.
    forgotten: Option<Error>,
}

fn may_be_done(outcome: &Result<Written>) -> bool {
    !matches!(outcome, Err(error) if error.outcome() == Outcome::Rejected)
}

/// The part of a write's time in which it is sent: where there is a question of the caller's, it gets the last quarter.
fn sending(timeout: Duration, verifies: bool) -> Duration {
    if verifies { timeout / 4 * 3 } else { timeout }
}

/// What may have been done by an earlier try or call, whatever became of the last one.
fn lost(error: Error) -> Error {
    let detail = format!("the write may have happened, and its answer is lost ({})", error.reason().as_str());
    // Where the last try was not sent an earlier one was.
    let phase = if error.phase() == Phase::Configure { Phase::Queue } else { error.phase() };
    let unknown = Error::new(Reason::WriteOutcomeUnknown, phase, detail)
        .with_delivery(error.delivery().max(Delivery::Unknown))
        .with_host(error.host().unwrap_or("unknown"))
        .with_effort(error.attempts(), error.elapsed().unwrap_or_default());
    unknown.with_source(error)
}

/// A batch whose answer tells nothing of its items.
fn unreadable(request: &Request, response: &Response, is_doubtful: bool) -> Error {
    let status = response.status();
    let (reason, detail) = match status {
        400..=499 if !is_doubtful => (Reason::WriteRejected, format!("the target refused the batch ({status})")),
        _ => (Reason::WriteOutcomeUnknown, format!("the answer ({status}) does not tell what became of the items")),
    };
    said(request, response, reason, detail, status)
}

/// An item that the answer refuses, or puts off for longer than there is time.
fn refused(request: &Request, response: &Response, meaning: Meaning, status: u16, is_doubtful: bool) -> Error {
    let (reason, detail) = match meaning {
        Meaning::Mismatch if !is_doubtful => {
            (Reason::WriteMismatch, "the target knows this key with another body".to_owned())
        }
        Meaning::InProgress | Meaning::Stored | Meaning::Unclear => {
            (Reason::WriteOutcomeUnknown, format!("the target did not settle the item ({status})"))
        }
        _ if status >= 500 => (
            Reason::WriteOutcomeUnknown,
            format!("the target failed ({status}), and may have done the item before it did"),
        ),
        _ if is_doubtful => (
            Reason::WriteOutcomeUnknown,
            format!("the last answer refused the item ({status}), but an earlier try may have been done"),
        ),
        _ => (Reason::WriteRejected, format!("the target refused the item ({status})")),
    };
    said(request, response, reason, detail, status)
}

fn said(request: &Request, response: &Response, reason: Reason, detail: String, status: u16) -> Error {
    let trace = response.trace();
    Error::new(reason, Phase::Receive, detail)
        .with_delivery(Delivery::Answered)
        .with_host(request.authority())
        .with_effort(trace.attempts, trace.total)
        .with_answer(status, response.body().clone())
}

/// A body that can be sent as often as it takes, and its hash; or one that can't, and none.
async fn read(content: &Content, most: usize, deadline: Instant) -> Result<(Content, Option<Fingerprint>)> {
    let content = spool(content, most).await?;
    let fingerprint = match &content {
        Content::Once(_) => None,
        content => Some(fingerprint(content, deadline).await?),
    };
    Ok((content, fingerprint))
}

/// Reads what can be read once into memory, where it is no longer than `most`, so that it can be sent again. A longer one
/// is sent as it comes, and once.
async fn spool(content: &Content, most: usize) -> Result<Content> {
    let Content::Once(once) = content else { return Ok(content.clone()) };
    let is_long = |length: u64| length > most as u64;
    if once.length().is_some_and(is_long) {
        return Ok(content.clone());
    }
    let spent = || Error::input("the body was sent before, and can be read only once");
    let mut upload = Upload::begin(content).ok_or_else(spent)?;
    let mut read = BytesMut::new();
    while read.len() <= most {
        let piece = next_piece(&mut upload).await?;
        if piece.is_empty() {
            return Ok(Content::Whole(read.freeze()));
        }
        read.extend_from_slice(&piece);
    }
    // The rest comes behind what was read.
    let rest = stream::unfold((Some(read.freeze()), upload), |(first, mut upload)| async move {
        let piece = match first {
            Some(first) => Ok(first),
            None => poll_fn(|cx| upload.poll_piece(cx)).await,
        };
        match piece {
            Ok(piece) if piece.is_empty() => None,
            piece => Some((piece, (None, upload))),
        }
    });
    Ok(Content::once(Source::Stream(Box::pin(rest)), once.length()))
}

/// The next piece of a body that is read before anything is sent.
async fn next_piece(upload: &mut Upload) -> Result<Bytes> {
    poll_fn(|cx| upload.poll_piece(cx))
        .await
        .map_err(|error| Error::new(Reason::CanceledBody, Phase::Configure, UNREADABLE).with_source(error))
}

/// The hash of a body that can be read again.
async fn fingerprint(content: &Content, deadline: Instant) -> Result<Fingerprint> {
    if let Some(whole) = content.at_once() {
        return Ok(Fingerprint(sha256(whole)));
    }
    let mut upload = Upload::begin(content).ok_or_else(|| Error::input("the body can't be read"))?;
    let mut hash = Context::new(&SHA256);
    loop {
        let piece = next_piece(&mut upload).await?;
        if piece.is_empty() {
            let digest = hash.finish();
            return Ok(Fingerprint(digest.as_ref().try_into().expect("SHA-256 has 32 bytes")));
        }
        hash.update(&piece);
        // A file is always ready: its caller may be interrupted all the same, and its time may end.
        drive::give_way().await;
        if Instant::now() >= deadline {
            return Err(Error::new(Reason::TimeoutTotal, Phase::Queue, "the request's body could not be read in time"));
        }
    }
}
