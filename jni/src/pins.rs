//! Pin sets as they cross: their JSON, and beside it what one wants to read of it.
//!
//! It owns the list of what Java may have done with one. A set is a value there too: every change makes another.

use std::net::IpAddr;
use std::time::Duration;

use pinlink::{Pin, PinSet};

use crate::answer::Failure;
use crate::options;
use crate::packet::{Malformed, Packing, Unpacking};

/// What is asked for, as the packet's first byte.
const PARSE: u8 = 0;
const LOAD: u8 = 1;
const SAVE: u8 = 2;
const HOSTS_FILE: u8 = 3;
const MERGE: u8 = 4;
const EXPIRE: u8 = 5;
const VALID_FOR: u8 = 6;
const INSERT: u8 = 7;
const FIND: u8 = 8;
const RESOLVE: u8 = 9;

/// Does what the packet asks for, and answers with the set that comes of it.
pub(crate) fn operate(mut fields: Unpacking<'_>) -> Result<Vec<u8>, Failure> {
    let operation = fields.byte()?;
    if operation == RESOLVE {
        return Ok(pack(&PinSet::resolve(options::unpack(&mut fields)??)?));
    }
    let text = fields.text()?;
    let mut set = match operation {
        LOAD => PinSet::load(text)?,
        HOSTS_FILE => PinSet::from_hosts_file(text, PinSet::now())?,
        _ => PinSet::from_json(text)?,
    };
    match operation {
        PARSE | LOAD | HOSTS_FILE => {}
        SAVE => set.save(fields.text()?)?,
        MERGE => set.merge(PinSet::from_json(fields.text()?)?),
        EXPIRE => {
            set.expire(PinSet::now());
        }
        VALID_FOR => set.valid_for(Duration::from_nanos(u64::try_from(fields.long()?).unwrap_or(0))),
        INSERT => {
            let host = fields.text()?;
            set.insert(host, Pin::by_hand(addresses(&mut fields)?, PinSet::now()))?;
        }
        FIND => {
            let found = set.find(fields.text()?).cloned();
            set = PinSet::default();
            if let Some(pin) = found {
                set.insert("found", pin)?;
            }
        }
        _ => return Err(Malformed.into()),
    }
    Ok(pack(&set))
}

/// Addresses as text; one that is none is a mistake of the caller's.
pub(crate) fn addresses(fields: &mut Unpacking<'_>) -> Result<Vec<IpAddr>, Failure> {
    let mut addresses = Vec::new();
    for _ in 0..fields.count()? {
        addresses.push(fields.text()?.parse().map_err(|_| Failure::ADDRESS)?);
    }
    Ok(addresses)
}

/// The JSON, the text for people, and each host with its addresses.
pub(crate) fn pack(set: &PinSet) -> Vec<u8> {
    let mut packet = Vec::new();
    packet.put_text(&set.to_json());
    packet.put_text(&set.to_string());
    packet.put_length(set.len());
    for (host, pin) in set.iter() {
        packet.put_text(host);
        packet.put_length(pin.addresses.len());
        for address in &pin.addresses {
            packet.put_text(&address.to_string());
        }
    }
    packet
}
