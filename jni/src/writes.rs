//! Writes as they cross: a request, its key, and its target's profile in words.
//!
//! It owns the order of the fields and what the words are. What a word means is the core's.

use std::time::Duration;

use pinlink::{Batch, Guarantee, Key, KeyForm, Meaning, Profile, Write};

use crate::attachments::Attachments;
use crate::packet::{Malformed, Unpacking};
use crate::request;

/// The bits of the first byte.
const HAS_KEY: u8 = 1;
const IS_UNKEYED: u8 = 2;
const HAS_READING: u8 = 4;

/// What the first byte of a batch says where it is not composed by Java.
const IS_BULK: u8 = 1;

pub(crate) fn unpack(fields: &mut Unpacking<'_>, attachments: &Attachments) -> Result<Write, Malformed> {
    let flags = fields.byte()?;
    let request = request::unpack(fields, None, attachments)?;
    let mut write = if flags & HAS_KEY != 0 {
        let key = fields.bytes()?.try_into().map_err(|_| Malformed)?;
        Write::new(request, &Key::from_bytes(key), &profile(fields)?)
    } else {
        Write::keyless(request)
    };
    if flags & IS_UNKEYED != 0 {
        write = write.unkeyed();
    }
    if flags & HAS_READING != 0 {
        let question = request::unpack(fields, None, attachments)?;
        write = write.verify(question, attachments.reading(fields)?);
    }
    Ok(write)
}

pub(crate) fn unpack_all(fields: &mut Unpacking<'_>, attachments: &Attachments) -> Result<Vec<Write>, Malformed> {
    (0..fields.count()?).map(|_| unpack(fields, attachments)).collect()
}

/// A batch: to Elasticsearch's `_bulk`, or as Java composes it.
pub(crate) fn unpack_batch(fields: &mut Unpacking<'_>, attachments: &Attachments) -> Result<Batch, Malformed> {
    let mut batch = match fields.byte()? {
        IS_BULK => Batch::elasticsearch(fields.text()?, fields.text()?),
        _ => attachments.batch(fields)?,
    };
    if let Ok(memory) = u64::try_from(fields.long()?) {
        batch = batch.memory(Duration::from_millis(memory));
    }
    for _ in 0..fields.count()? {
        let key = fields.bytes()?.try_into().map_err(|_| Malformed)?;
        batch = batch.item(&Key::from_bytes(key), fields.bytes()?.to_vec());
    }
    Ok(batch)
}

/// The stable name.
pub(crate) fn guarantee(write: &Write) -> &'static str {
    match write.guarantee() {
        Guarantee::Once => "Once",
        Guarantee::Repeatable => "Repeatable",
        // And whatever is promised later, which these classes don't know: nothing less is promised than this.
        _ => "AtMostOncePerProcess",
    }
}

/// A profile: sentences of a few words, of which the first says where the key goes, and the others what is changed.
fn profile(fields: &mut Unpacking<'_>) -> Result<Profile, Malformed> {
    let sentences = fields.count()?;
    let mut profile = base(&words(fields)?)?;
    for _ in 1..sentences {
        profile = changed(profile, &words(fields)?)?;
    }
    Ok(profile)
}

fn words<'a>(fields: &mut Unpacking<'a>) -> Result<Vec<&'a str>, Malformed> {
    (0..fields.count()?).map(|_| fields.text()).collect()
}

fn base(words: &[&str]) -> Result<Profile, Malformed> {
    Ok(match words {
        ["idempotency_key"] => Profile::idempotency_key(),
        ["bare_idempotency_key"] => Profile::bare_idempotency_key(),
        ["header", name] => Profile::header(name),
        ["query", name] => Profile::query(name),
        ["form_field", name] => Profile::form_field(name),
        ["client_token"] => Profile::client_token(),
        ["client_token_in_form"] => Profile::client_token_in_form(),
        ["oss"] => Profile::oss(),
        ["s3"] => Profile::s3(),
        ["if_none_match"] => Profile::if_none_match(),
        ["elasticsearch"] => Profile::elasticsearch(),
        ["tablestore"] => Profile::tablestore(),
        _ => return Err(Malformed),
    })
}

fn changed(profile: Profile, words: &[&str]) -> Result<Profile, Malformed> {
    Ok(match words {
        ["form", "hex"] => profile.form(KeyForm::Hex),
        ["form", "uuid"] => profile.form(KeyForm::Uuid),
        ["form", "short"] => profile.form(KeyForm::Short),
        ["memory", milliseconds] => profile.memory(Duration::from_millis(milliseconds.parse().map_err(|_| Malformed)?)),
        ["mark", status, meaning] => profile.mark(status.parse().map_err(|_| Malformed)?, None, named(meaning)?),
        ["mark", status, meaning, code] => {
            profile.mark(status.parse().map_err(|_| Malformed)?, Some(code), named(meaning)?)
        }
        ["replay_mark", name, value] => profile.replay_mark(name, value),
        ["stores_failures", stores] => profile.stores_failures(*stores == "true"),
        _ => return Err(Malformed),
    })
}

pub(crate) fn named(meaning: &str) -> Result<Meaning, Malformed> {
    Ok(match meaning {
        "Applied" => Meaning::Applied,
        "AlreadyApplied" => Meaning::AlreadyApplied,
        "Exists" => Meaning::Exists,
        "InProgress" => Meaning::InProgress,
        "Mismatch" => Meaning::Mismatch,
        "Again" => Meaning::Again,
        "Stored" => Meaning::Stored,
        "Rejected" => Meaning::Rejected,
        _ => return Err(Malformed),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::Packing;

    fn said(sentences: &[&[&str]]) -> Result<Profile, Malformed> {
        let mut packet = Vec::new();
        packet.put_length(sentences.len());
        for sentence in sentences {
            packet.put_length(sentence.len());
            sentence.iter().for_each(|word| packet.put_text(word));
        }
        profile(&mut Unpacking::new(&packet))
    }

    #[test]
    fn a_profile_in_words_is_the_profile() {
        let ours = said(&[
            &["header", "X-Request-Id"],
            &["form", "uuid"],
            &["memory", "1800000"],
            &["mark", "409", "InProgress", "REQUEST_RUNNING"],
            &["mark", "422", "Mismatch"],
            &["replay_mark", "X-Replayed", "1"],
            &["stores_failures", "true"],
        ]);
        let theirs = Profile::header("X-Request-Id")
            .form(KeyForm::Uuid)
            .memory(Duration::from_secs(30 * 60))
            .mark(409, Some("REQUEST_RUNNING"), Meaning::InProgress)
            .mark(422, None, Meaning::Mismatch)
            .replay_mark("X-Replayed", "1")
            .stores_failures(true);
        assert_eq!(format!("{ours:?}"), format!("{:?}", Ok::<_, Malformed>(theirs)));
    }

    #[test]
    fn words_that_say_nothing_are_malformed() {
        for sentences in
            [&[&["header"][..]][..], &[&["colour", "blue"]], &[&["oss"], &["mark", "x", "Again"]], &[&["oss"], &[]]]
        {
            assert!(said(sentences).is_err(), "{sentences:?}");
        }
    }
}
