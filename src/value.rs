//! The types that options have: how each is read from text, and its range.
//!
//! Values cross languages as text and are read here, once. Units are part of the text: a bare number is no
//! duration and no size, and 0 never means without limit. No I/O, no clock.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use http::header::HeaderValue;
use ipnet::IpNet;

use crate::error::Error;
use crate::origin::{Origin, Scheme, canonical_host};

/// A type that an option can have.
pub(crate) trait Value: Sized {
    const KIND: &'static str;

    fn read(text: &str) -> Result<Self, String>;

    /// Whether it lies in a range; types without an order have none.
    fn within(&self, _min: &str, _max: &str) -> bool {
        true
    }
}

/// What a setter of [`Builder`] takes for an option of type `T`.
#[doc(hidden)]
pub trait IntoValue<T> {
    /// Converts, or says what is wrong.
    fn into_value(self) -> Result<T, String>;
}

impl Value for Duration {
    const KIND: &'static str = "duration";

    fn read(text: &str) -> Result<Duration, String> {
        let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
        let (number, unit) = text.split_at(digits);
        let seconds = match unit {
            "ms" => 0.001,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            "" => return Err(format!("duration {text:?} needs a unit: ms, s, m or h")),
            _ => return Err(format!("duration {text:?} has a unit other than ms, s, m and h")),
        };
        let number: f64 = number.parse().map_err(|_| format!("{text:?} is not a duration such as 500ms or 10s"))?;
        Duration::try_from_secs_f64(number * seconds).map_err(|_| format!("duration {text:?} is too long"))
    }

    fn within(&self, min: &str, max: &str) -> bool {
        in_range(self, min, max)
    }
}

impl Value for usize {
    const KIND: &'static str = "count";

    fn read(text: &str) -> Result<usize, String> {
        if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) {
            return Err(format!("{text:?} is not a whole number"));
        }
        text.parse().map_err(|_| format!("{text:?} is too great"))
    }

    fn within(&self, min: &str, max: &str) -> bool {
        in_range(self, min, max)
    }
}

fn in_range<T: Value + PartialOrd>(value: &T, min: &str, max: &str) -> bool {
    let bound = |text| T::read(text).expect("a bound of the table is well-formed");
    *value >= bound(min) && *value <= bound(max)
}

impl Value for bool {
    const KIND: &'static str = "flag";

    fn read(text: &str) -> Result<bool, String> {
        match text {
            "true" => Ok(true),
            "false" => Ok(false),
            _ => Err(format!("{text:?} is neither true nor false")),
        }
    }
}

macro_rules! plain_values {
    ($($type:ty),+) => {
        $(impl IntoValue<$type> for $type {
            fn into_value(self) -> Result<$type, String> {
                Ok(self)
            }
        })+
    };
}

plain_values!(Duration, usize, bool, ByteSize, Family, Protocol, Summary);

/// A number of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ByteSize(pub usize);

impl IntoValue<ByteSize> for usize {
    fn into_value(self) -> Result<ByteSize, String> {
        Ok(ByteSize(self))
    }
}

impl Value for ByteSize {
    const KIND: &'static str = "size";

    fn read(text: &str) -> Result<ByteSize, String> {
        let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        let (number, unit) = text.split_at(digits);
        let scale: usize = match unit {
            "B" => 1,
            "KiB" => 1 << 10,
            "MiB" => 1 << 20,
            "GiB" => 1 << 30,
            _ => return Err(format!("size {text:?} needs a unit: B, KiB, MiB or GiB")),
        };
        let number = usize::read(number)?;
        number.checked_mul(scale).map(ByteSize).ok_or_else(|| format!("size {text:?} is too great"))
    }

    fn within(&self, min: &str, max: &str) -> bool {
        in_range(self, min, max)
    }
}

/// A count that may be unset.
#[doc(hidden)]
#[derive(Clone, Copy, Debug)]
pub struct OptionalCount(pub(crate) Option<usize>);

impl Value for OptionalCount {
    const KIND: &'static str = "count";

    fn read(text: &str) -> Result<OptionalCount, String> {
        if text.is_empty() {
            Ok(OptionalCount(None))
        } else {
            usize::read(text).map(|count| OptionalCount(Some(count)))
        }
    }

    fn within(&self, min: &str, max: &str) -> bool {
        self.0.is_none_or(|count| count.within(min, max))
    }
}

impl IntoValue<OptionalCount> for usize {
    fn into_value(self) -> Result<OptionalCount, String> {
        Ok(OptionalCount(Some(self)))
    }
}

/// A file name that may be unset.
#[doc(hidden)]
#[derive(Clone, Debug)]
pub struct OptionalPath(pub(crate) Option<PathBuf>);

impl Value for OptionalPath {
    const KIND: &'static str = "path";

    fn read(text: &str) -> Result<OptionalPath, String> {
        Ok(OptionalPath((!text.is_empty()).then(|| PathBuf::from(text))))
    }
}

impl<P: Into<PathBuf>> IntoValue<OptionalPath> for P {
    fn into_value(self) -> Result<OptionalPath, String> {
        Ok(OptionalPath(Some(self.into())))
    }
}

/// Text that can stand in a header.
#[doc(hidden)]
#[derive(Clone, Debug)]
pub struct HeaderText(pub(crate) HeaderValue);

impl Value for HeaderText {
    const KIND: &'static str = "text";

    fn read(text: &str) -> Result<HeaderText, String> {
        HeaderValue::from_str(text).map(HeaderText).map_err(|_| "the text holds a control character".to_owned())
    }
}

impl IntoValue<HeaderText> for &str {
    fn into_value(self) -> Result<HeaderText, String> {
        HeaderText::read(self)
    }
}

macro_rules! choices {
    ($(#[$attr:meta])* $name:ident { $($(#[$variant_attr:meta])* $variant:ident = $text:literal,)+ }) => {
        $(#[$attr])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[non_exhaustive]
        pub enum $name { $($(#[$variant_attr])* $variant,)+ }

        impl Value for $name {
            const KIND: &'static str = "choice";

            fn read(text: &str) -> Result<$name, String> {
                match text {
                    $($text => Ok($name::$variant),)+
                    _ => Err(format!("{text:?} is none of {}", [$($text),+].join(", "))),
                }
            }
        }
    };
}

choices! {
    /// Which addresses a name is resolved to.
    Family {
        /// A records only.
        Ipv4 = "ipv4",
        /// AAAA records only.
        Ipv6 = "ipv6",
        /// Both.
        Both = "both",
    }
}

choices! {
    /// Which version of HTTP is spoken.
    Protocol {
        /// HTTP/1.1 for single blocking calls and plain TCP, what the target chooses (ALPN) for async callers and batches over
        /// TLS.
        Auto = "auto",
        /// HTTP/1.1.
        Http1 = "http1",
        /// HTTP/2 where the target chooses it over TLS, and without asking (prior knowledge) over plain TCP.
        Http2 = "http2",
    }
}

choices! {
    /// Where the summary at close goes.
    Summary {
        /// A tracing event of level INFO.
        Log = "log",
        /// One line on standard error.
        Stderr = "stderr",
        /// Nowhere.
        Off = "off",
    }
}

/// The items of a list option: separated by commas, blanks around them ignored.
fn items(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').map(str::trim).filter(|item| !item.is_empty())
}

macro_rules! lists {
    ($($(#[$attr:meta])* $name:ident($item:ty) $kind:literal by $parse:expr;)+) => {
        $(
            $(#[$attr])*
            #[doc(hidden)]
            #[derive(Clone, Debug)]
            pub struct $name(pub(crate) Vec<$item>);

            impl $name {
                fn collect<T: AsRef<str>>(texts: impl IntoIterator<Item = T>) -> Result<$name, String> {
                    let parse: fn(&str) -> Result<$item, String> = $parse;
                    texts.into_iter().map(|text| parse(text.as_ref())).collect::<Result<Vec<_>, _>>().map($name)
                }
            }

            impl Value for $name {
                const KIND: &'static str = $kind;

                fn read(text: &str) -> Result<$name, String> {
                    $name::collect(items(text))
                }
            }

            impl<I: IntoIterator<Item: AsRef<str>>> IntoValue<$name> for I {
                fn into_value(self) -> Result<$name, String> {
                    $name::collect(self)
                }
            }
        )+
    };
}

lists! {
    /// Declared origins.
    Origins(Origin) "list of origins" by |text| Origin::parse(text).map_err(plain);
    /// Addresses by host.
    Pins((Box<str>, Vec<IpAddr>)) "list of host=address|address" by |text| {
        let (host, addresses) = text.split_once('=').ok_or_else(|| format!("{text:?} is not host=address"))?;
        let addresses = addresses
            .split('|')
            .map(|address| address.trim().parse().map_err(|_| format!("{address:?} is not an IP address")))
            .collect::<Result<Vec<IpAddr>, _>>()?;
        Ok((canonical_host(host.trim()).map_err(plain)?, addresses))
    };
    /// Names of protocols.
    Names(Box<[u8]>) "list of names" by |text| {
        let is_name = (1..=255).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic());
        if is_name { Ok(text.as_bytes().into()) } else { Err(format!("{text:?} is not the name of a protocol")) }
    };
    /// Name servers.
    NameServers(SocketAddr) "list of addresses" by |text| {
        let bare = text.parse::<IpAddr>().map(|address| SocketAddr::new(address, 53));
        let server = bare.or_else(|_| text.parse::<SocketAddr>()).map_err(|_| format!("{text:?} is not address[:port]"))?;
        if server.port() == 0 { Err(format!("{text:?} has port 0")) } else { Ok(server) }
    };
    /// Networks.
    Networks(IpNet) "list of networks" by |text| {
        let bare = text.parse::<IpAddr>().map(IpNet::from);
        bare.or_else(|_| text.parse::<IpNet>()).map_err(|_| format!("{text:?} is not a network such as 10.0.0.0/8"))
    };
    /// Detours: host, port, and whom to dial instead.
    ConnectTo((Box<str>, u16, Box<str>, u16)) "list of host:port:host:port" by |text| {
        let fail = || format!("{text:?} is not host:port:host:port");
        // Split before the second host, which follows the first port; an IPv6 address is in brackets.
        let after_host = if text.starts_with('[') { text.find(']').unwrap_or(0) } else { 0 };
        let after_port = text[after_host..].match_indices(':').nth(1).map(|(at, _)| after_host + at).ok_or_else(fail)?;
        let end = |text: &str| Origin::parse(&format!("tcp://{text}")).map_err(plain);
        let (from, to) = (end(&text[..after_port])?, end(&text[after_port + 1..])?);
        Ok((from.host().into(), from.port(), to.host().into(), to.port()))
    };
    /// Another name for a host, with a port where one is wanted.
    NameMap((Box<str>, Box<str>)) "list of host=name" by |text| {
        let (host, name) = text.split_once('=').ok_or_else(|| format!("{text:?} is not host=name"))?;
        let name = name.trim();
        Origin::parse(name).map_err(plain)?;
        Ok((canonical_host(host.trim()).map_err(plain)?, name.to_ascii_lowercase().into()))
    };
}

impl NameMap {
    pub(crate) fn find(&self, host: &str) -> Option<&str> {
        self.0.iter().find(|(from, _)| **from == *host).map(|(_, name)| &**name)
    }
}

impl Origins {
    pub(crate) fn needs_tls(&self) -> bool {
        self.0.iter().any(|origin| origin.scheme() == Scheme::Https)
    }
}

fn plain(error: Error) -> String {
    error.detail().to_owned()
}
