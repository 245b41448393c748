//! A client's options as they cross: pairs of text, and a pin set as its JSON.
//!
//! It reads none of them: the core does, once.

use pinlink::{Builder, Client, PinSet, Result};

use crate::packet::{Malformed, Unpacking};

/// A builder with the packet's options; or the core's complaint about its pin set.
pub(crate) fn unpack(fields: &mut Unpacking<'_>) -> Result<Result<Builder>, Malformed> {
    let mut builder = Client::builder();
    for _ in 0..fields.count()? {
        let (name, value) = (fields.text()?, fields.text()?);
        builder = builder.option(name, value);
    }
    match fields.text()? {
        "" => Ok(Ok(builder)),
        json => Ok(PinSet::from_json(json).map(|pins| builder.import(pins))),
    }
}
