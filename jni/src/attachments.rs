//! Java objects that a packet can't hold: callbacks and streams, handed in beside it and referred to by their place.
//!
//! It owns how they are called back: signing a try, reading about a write, composing a batch, pulling a body. They are
//! kept as long as the request that needs them, and let go of on a thread that the JVM knows.

use std::io::{self, Read};
use std::sync::Arc;

use jni::objects::{JByteArray, JObject, JObjectArray};
use jni::refs::Global;
use jni::strings::JNIStr;
use jni::sys::jint;
use jni::{Env, JValue, jni_sig, jni_str};
use pinlink::{Batch, Fate, Request, Response};

use crate::answer::Answer;
use crate::packet::{Malformed, Packing, Unpacking};
use crate::upcall::{as_java_mut, in_an_array, with_java};
use crate::{request, writes};

/// How much of a stream is asked for at once.
const PIECE: usize = 64 * 1024;

/// A Java object that is kept.
pub(crate) struct Kept(Option<Global<JObject<'static>>>);

impl Kept {
    fn new(env: &Env<'_>, object: &JObject<'_>) -> jni::errors::Result<Kept> {
        Ok(Kept(Some(env.new_global_ref(object)?)))
    }

    fn object(&self) -> Option<&Global<JObject<'static>>> {
        self.0.as_ref()
    }
}

impl Drop for Kept {
    /// On whatever thread the request ends, which becomes one of the JVM's for it.
    fn drop(&mut self) {
        let object = self.0.take();
        with_java(move |_| {
            drop(object);
            Ok(())
        });
    }
}

/// What came beside a packet.
#[derive(Default)]
pub(crate) struct Attachments(Vec<Arc<Kept>>);

impl Attachments {
    /// Nothing for null, which is what nearly every call has.
    pub(crate) fn new<'local>(
        env: &mut Env<'local>,
        objects: &JObjectArray<'local>,
    ) -> jni::errors::Result<Attachments> {
        if objects.is_null() {
            return Ok(Attachments::default());
        }
        let kept = (0..objects.len(env)?).map(|place| {
            let object = objects.get_element(env, place)?;
            let kept = Kept::new(env, &object)?;
            env.delete_local_ref(object);
            Ok(Arc::new(kept))
        });
        kept.collect::<jni::errors::Result<_>>().map(Attachments)
    }

    fn take(&self, fields: &mut Unpacking<'_>) -> Result<Arc<Kept>, Malformed> {
        self.0.get(fields.count()?).map(Arc::clone).ok_or(Malformed)
    }

    /// The request, signed anew for each try: Java gets it packed and answers with the fields that its signature adds.
    pub(crate) fn signed(&self, fields: &mut Unpacking<'_>, request: Request) -> Result<Request, Malformed> {
        let signer = self.take(fields)?;
        Ok(request.signed(move |unsigned| {
            let Some(added) = sign(&signer, &unsigned) else {
                // A header that no request may have: the try is refused before it is sent.
                return unsigned.header("\n", "");
            };
            let mut added = Unpacking::new(&added);
            let mut signed = unsigned;
            for _ in 0..added.count().unwrap_or_default() {
                let (Ok(name), Ok(value)) = (added.text(), added.bytes()) else { break };
                signed = signed.header(name, value);
            }
            signed
        }))
    }

    /// The request with what a stream brings, pulled while it is sent.
    pub(crate) fn streamed(&self, fields: &mut Unpacking<'_>, request: Request) -> Result<Request, Malformed> {
        let (stream, length) = (self.take(fields)?, fields.long()?);
        Ok(request.body_reader(Stream { stream, piece: None }, u64::try_from(length).ok()))
    }

    /// What a caller reads in an answer about a write.
    pub(crate) fn reading(
        &self,
        fields: &mut Unpacking<'_>,
    ) -> Result<impl Fn(&Response) -> Option<bool> + Send + Sync + 'static, Malformed> {
        let reading = self.take(fields)?;
        Ok(move |response: &Response| {
            let verdict = with_java(|env| {
                let answer = in_an_array(env, Answer::Response(response.clone()))?;
                let Some(object) = reading.object() else { return Ok(-1) };
                env.call_method(object, jni_str!("read"), jni_sig!("([B)I"), &[JValue::Object(&answer)])?.i()
            });
            match verdict {
                Some(0) => Some(false),
                Some(1) => Some(true),
                _ => None,
            }
        })
    }
}

impl Attachments {
    /// A batch of a target's own making: Java composes the request of some of its items, and reads their fates.
    pub(crate) fn batch(&self, fields: &mut Unpacking<'_>) -> Result<Batch, Malformed> {
        let composing = self.take(fields)?;
        let reading = Arc::clone(&composing);
        Ok(Batch::new(
            move |items| {
                let mut packet = Vec::new();
                packet.put_length(items.len());
                for (key, body) in items {
                    packet.put_text(&key.hex());
                    packet.put_length(body.len());
                    packet.put(body);
                }
                let composed = asked(&composing, jni_str!("compose"), |env| env.byte_array_from_slice(&packet));
                let request = composed.and_then(|packet| {
                    request::unpack(&mut Unpacking::new(&packet), None, &Attachments::default()).ok()
                });
                // One that can't be sent: what was thrown is the cause of that.
                request.unwrap_or_else(|| Request::post("not composed"))
            },
            move |response| {
                let answer = Answer::Response(response.clone());
                let packet = asked(&reading, jni_str!("read"), |env| in_an_array(env, answer))?;
                fates(&mut Unpacking::new(&packet)).ok()
            },
        ))
    }
}

/// Has a Java object answer one packet with another; nothing where it gives none.
fn asked(
    object: &Kept,
    method: &'static JNIStr,
    packet: impl for<'local> FnOnce(&mut Env<'local>) -> jni::errors::Result<JByteArray<'local>>,
) -> Option<Vec<u8>> {
    with_java(|env| {
        let packet = packet(env)?;
        let Some(object) = object.object() else { return Ok(None) };
        let answer = env.call_method(object, method, jni_sig!("([B)[B"), &[JValue::Object(&packet)])?.l()?;
        if answer.is_null() {
            return Ok(None);
        }
        // SAFETY: the method returns an array of bytes.
        let answer = unsafe { JByteArray::from_raw(env, answer.into_raw()) };
        env.convert_byte_array(&answer).map(Some)
    })
    .flatten()
}

fn fates(fields: &mut Unpacking<'_>) -> Result<Vec<Fate>, Malformed> {
    let fate = |fields: &mut Unpacking<'_>| {
        let meaning = writes::named(fields.text()?)?;
        Ok(Fate { meaning, status: u16::try_from(fields.count()?).map_err(|_| Malformed)? })
    };
    (0..fields.count()?).map(|_| fate(fields)).collect()
}

/// The fields that a signature adds, packed; nothing where the signer failed, which Java knows.
fn sign(signer: &Kept, unsigned: &Request) -> Option<Vec<u8>> {
    let mut packet = Vec::new();
    packet.put_text(unsigned.method());
    packet.put_text(&unsigned.url());
    let fields: Vec<_> = unsigned.headers().collect();
    packet.put_length(fields.len());
    for (name, value) in &fields {
        packet.put_text(name.as_str());
        packet.put_length(value.len());
        packet.put(value.as_bytes());
    }
    let body = unsigned.body_bytes().map(|body| &body[..]).unwrap_or_default();
    packet.put_length(body.len());
    packet.put(body);
    asked(signer, jni_str!("sign"), |env| env.byte_array_from_slice(&packet))
}

/// A Java stream as the body of a request.
struct Stream {
    stream: Arc<Kept>,
    /// The array into which it is read, made at the first read and kept.
    piece: Option<Kept>,
}

impl Read for Stream {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let Stream { stream, piece } = self;
        let read = with_java(|env| {
            if piece.is_none() {
                let array = env.new_byte_array(PIECE)?;
                *piece = Some(Kept::new(env, &array)?);
            }
            let (Some(object), Some(array)) = (stream.object(), piece.as_ref().and_then(Kept::object)) else {
                return Ok(None);
            };
            let wanted = into.len().min(PIECE);
            let array = env.new_local_ref(array)?;
            let arguments = [JValue::Object(&array), JValue::Int(jint::try_from(wanted).unwrap_or(jint::MAX))];
            let got = env.call_method(object, jni_str!("pull"), jni_sig!("([BI)I"), &arguments)?.i()?;
            let Ok(got) = usize::try_from(got) else { return Ok(None) };
            // SAFETY: it was made as an array of bytes.
            let array = unsafe { JByteArray::from_raw(env, array.into_raw()) };
            let into = &mut into[..got.min(wanted)];
            array.get_region(env, 0, as_java_mut(into))?;
            Ok(Some(into.len()))
        });
        read.flatten().ok_or_else(|| io::Error::other("the stream failed"))
    }
}
