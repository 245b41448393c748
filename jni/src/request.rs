//! A request as it crosses.
//!
//! It owns the order of the fields. Every check of what they say is the core's, and comes back as the error of the
//! call.

use std::time::Duration;

use pinlink::Request;

use crate::attachments::Attachments;
use crate::packet::{Malformed, Unpacking};

/// The bits of the first byte.
const EXPECTS: u8 = 1;
const RESUMES: u8 = 2;
const HAS_TIMEOUT: u8 = 4;
const HAS_SIZE_LIMIT: u8 = 8;
const HAS_FILE: u8 = 16;
const HAS_STREAM: u8 = 32;
const HAS_SIGNER: u8 = 64;

/// The request; `body` is the array that came beside it, if one did.
pub(crate) fn unpack(
    fields: &mut Unpacking<'_>,
    body: Option<Vec<u8>>,
    attachments: &Attachments,
) -> Result<Request, Malformed> {
    let flags = fields.byte()?;
    let has = |flag: u8| flags & flag != 0;
    let timeout = if has(HAS_TIMEOUT) { fields.long()? } else { 0 };
    let size_limit = if has(HAS_SIZE_LIMIT) { fields.long()? } else { 0 };
    let (method, url) = (fields.text()?, fields.text()?);
    let mut request = Request::new(method, url);
    for _ in 0..fields.count()? {
        let (name, value) = (fields.text()?, fields.bytes()?);
        request = request.header(name, value);
    }
    for _ in 0..fields.count()? {
        let (name, value) = (fields.text()?, fields.bytes()?);
        request = request.trailer(name, value);
    }
    let packed = fields.bytes()?;
    request = match body {
        Some(body) => request.body(body),
        None if has(HAS_FILE) => request.body_file(std::str::from_utf8(packed).map_err(|_| Malformed)?),
        None if packed.is_empty() => request,
        None => request.body(packed.to_vec()),
    };
    if has(HAS_STREAM) {
        request = attachments.streamed(fields, request)?;
    }
    if has(HAS_SIGNER) {
        request = attachments.signed(fields, request)?;
    }
    if has(EXPECTS) {
        request = request.expect_continue();
    }
    if has(RESUMES) {
        request = request.resume();
    }
    if has(HAS_SIZE_LIMIT) {
        request = request.size_limit(u64::try_from(size_limit).unwrap_or(0));
    }
    if has(HAS_TIMEOUT) {
        request = request.timeout(Duration::from_nanos(u64::try_from(timeout).unwrap_or(0)));
    }
    Ok(request)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::Packing;

    fn packed(flags: u8, body: &[u8]) -> Vec<u8> {
        let mut packet = Vec::new();
        packet.put_byte(flags);
        if flags & HAS_TIMEOUT != 0 {
            packet.put_long(-1);
        }
        packet.put_text("POST");
        packet.put_text("https://kms.example/keys");
        packet.put_length(1);
        packet.put_text("x-trace");
        packet.put_text("7");
        packet.put_length(0);
        packet.put_length(body.len());
        packet.put(body);
        packet
    }

    #[test]
    fn a_packed_request_is_the_request() {
        let request = unpack(&mut Unpacking::new(&packed(0, b"{}")), None, &Attachments::default()).unwrap();
        assert_eq!((request.method(), request.url().as_str()), ("POST", "https://kms.example/keys"));
        let fields: Vec<_> = request.headers().map(|(name, value)| format!("{name}={value:?}")).collect();
        assert_eq!(fields, ["x-trace=\"7\""]);
        assert_eq!(request.body_bytes().map(|body| &body[..]), Some(&b"{}"[..]));
        assert!(request.check().is_ok());
    }

    #[test]
    fn a_body_elsewhere_is_the_body() {
        let packet = packed(0, b"");
        let request = unpack(&mut Unpacking::new(&packet), Some(b"rows".to_vec()), &Attachments::default()).unwrap();
        assert_eq!(request.body_bytes().map(|body| &body[..]), Some(&b"rows"[..]));
    }

    #[test]
    fn a_timeout_below_zero_is_refused_as_one_of_zero() {
        let packet = packed(HAS_TIMEOUT, b"");
        assert!(unpack(&mut Unpacking::new(&packet), None, &Attachments::default()).unwrap().check().is_err());
    }

    #[test]
    fn a_packet_that_ends_early_is_malformed_wherever_it_ends() {
        let packet = packed(0, b"body");
        for end in 0..packet.len() {
            assert_eq!(
                unpack(&mut Unpacking::new(&packet[..end]), None, &Attachments::default()).err(),
                Some(Malformed),
                "{end}"
            );
        }
    }
}
