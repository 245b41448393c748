//! What is probably missing where a call failed: the step, the layer that it belongs to, and how
//! sure that is.
//!
//! It owns the mapping from a failure's [`Reason`], and the kind of address it was for, to its [`Cause`]s. The
//! platform's facts behind it are its page on enabling network access and the table of errors in its FAQ; the settings
//! named are the platform's, or options of ours. Pure: no I/O, no clock.

use std::net::IpAddr;

use serde::Serialize;

use crate::reason::Reason;

/// One step that may be missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Cause {
    /// How sure that is.
    pub certainty: Certainty,
    /// Whose step it is.
    pub layer: Layer,
    /// What to do, one sentence.
    pub step: &'static str,
}

/// How sure a cause is. A failure seen from one side alone is never more than likely.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Certainty {
    /// Mostly this.
    Likely,
    /// Sometimes this.
    Possible,
}

impl Certainty {
    /// Both, the surer first.
    #[doc(hidden)]
    pub const ALL: [Certainty; 2] = [Certainty::Likely, Certainty::Possible];

    /// The name in reports.
    pub fn as_str(self) -> &'static str {
        match self {
            Certainty::Likely => "likely",
            Certainty::Possible => "possible",
        }
    }
}

/// The layers that must all agree, of reaching a service from a job, and those beside the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Layer {
    /// The network connection between the project and a VPC, made in the console by an administrator of the tenant.
    NetworkConnection,
    /// The security group that was made for the network connection.
    ConnectionGroup,
    /// The target's own security group.
    SecurityGroup,
    /// The target's white list of addresses.
    WhiteList,
    /// The project's list of external addresses, and the job's.
    InternetAccess,
    /// A setting that the job itself carries.
    JobFlag,
    /// Which of a service's endpoints is asked.
    Endpoint,
    /// Names and their resolution.
    Name,
    /// A proxy on the way.
    Proxy,
    /// The target's certificate, or ours.
    Certificate,
    /// The target itself.
    Target,
    /// How the job calls.
    Job,
    /// Options of this library.
    Configuration,
    /// The isolation that the job's code runs in.
    Isolation,
    /// The machine that the job runs on.
    Machine,
}

impl Layer {
    /// Every layer there is.
    #[doc(hidden)]
    pub const ALL: [Layer; 15] = [
        Layer::NetworkConnection,
        Layer::ConnectionGroup,
        Layer::SecurityGroup,
        Layer::WhiteList,
        Layer::InternetAccess,
        Layer::JobFlag,
        Layer::Endpoint,
        Layer::Name,
        Layer::Proxy,
        Layer::Certificate,
        Layer::Target,
        Layer::Job,
        Layer::Configuration,
        Layer::Isolation,
        Layer::Machine,
    ];

    /// The name in reports.
    pub fn as_str(self) -> &'static str {
        match self {
            Layer::NetworkConnection => "network connection",
            Layer::ConnectionGroup => "security group of the connection",
            Layer::SecurityGroup => "security group of the target",
            Layer::WhiteList => "white list of the target",
            Layer::InternetAccess => "internet access list",
            Layer::JobFlag => "job flag",
            Layer::Endpoint => "endpoint",
            Layer::Name => "name",
            Layer::Proxy => "proxy",
            Layer::Certificate => "certificate",
            Layer::Target => "target",
            Layer::Job => "job",
            Layer::Configuration => "configuration",
            Layer::Isolation => "isolation",
            Layer::Machine => "machine",
        }
    }
}

/// What kind of address a target has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    Private,
    Public,
    /// No address is known, or it is this machine's own or its link's: neither says which way leads there.
    Unknown,
}

impl Place {
    /// Private are the ranges of RFC 1918, of RFC 6598 (inside, services of Alibaba Cloud have those), and unique local
    /// addresses (RFC 4193).
    pub(crate) fn of(address: Option<IpAddr>) -> Place {
        let Some(address) = address.map(|address| address.to_canonical()) else { return Place::Unknown };
        let (is_near, is_private) = match address {
            IpAddr::V4(v4) => (
                v4.is_loopback() || v4.is_link_local(),
                v4.is_private() || (v4.octets()[0] == 100 && v4.octets()[1] & 0xc0 == 64),
            ),
            IpAddr::V6(v6) => (v6.is_loopback() || v6.is_unicast_link_local(), v6.is_unique_local()),
        };
        match (is_near, is_private) {
            (true, _) => Place::Unknown,
            (false, true) => Place::Private,
            (false, false) => Place::Public,
        }
    }
}

macro_rules! causes {
    ($(($($reason:ident)|+, $place:tt) => { $($certainty:ident $part:ident $step:literal;)+ })+) => {
        /// What is probably missing, the most probable first; nothing where nothing general can be said.
        pub(crate) fn causes(reason: Reason, place: Place) -> &'static [Cause] {
            match (reason, place) {
                $(($(Reason::$reason)|+, causes!(@place $place)) => const {
                    &[$(Cause { certainty: Certainty::$certainty, layer: Layer::$part, step: $step },)+]
                },)+
                _ => &[],
            }
        }
    };
    (@place _) => { _ };
    (@place $place:ident) => { Place::$place };
}

#[rustfmt::skip]
causes! {
        (ConnectTimeout, Private) => {
            Likely JobFlag "packets are dropped on the way: name the network connection to this VPC in \
             the job, SET odps.session.networklink=<name> (Spark: \
             spark.hadoop.odps.cupid.eni.enable and eni.info)";
            Likely SecurityGroup "let the target's security group admit the connection's own group on this \
             port";
            Likely WhiteList "let the target's white list admit the vSwitch's CIDR block; addresses of \
             single interfaces may change";
            Possible ConnectionGroup "the connection's own security group must be a basic one, allow all inbound \
             traffic, and send out to this address";
            Possible NetworkConnection "the connection must be to the VPC that this address is in; another VPC takes \
             peering or CEN behind it";
        }
        (ConnectTimeout, Public) => {
            Likely InternetAccess "packets are dropped on the way: have host and port added to the project's \
             list of external addresses, and name them in the job, SET \
             odps.internet.access.list=<host>:<port>";
            Possible WhiteList "the target's own access control may refuse the platform: its source \
             addresses are few and may change, so a list of them does not last";
            Possible Endpoint "from Spark, services of Alibaba Cloud are reached by their internal \
             endpoints only";
        }
        (ConnectTimeout, _) => {
            Likely JobFlag "packets are dropped on the way: name the network connection (set \
             odps.session.networklink=...), and let the target's security group and white \
             list admit the vSwitch's CIDR block";
            Possible InternetAccess "for the Internet: SET odps.internet.access.list=<host>:<port>, and the same \
             in the project's list";
        }
        (ConnectRefused, _) => {
            Likely Target "the address answered that nothing listens there: check the port, or the \
             proxy's connection limit (lower max_connections or set job_connections)";
            Likely JobFlag "a job whose network is not enabled at all is refused too: SET \
             odps.session.networklink=<name>, or odps.internet.access.list";
        }
        (ConnectUnreachable, Private) => {
            Likely JobFlag "there is no route from this job: SET odps.session.networklink=<name> (Spark: \
             spark.hadoop.odps.cupid.eni.enable and eni.info)";
            Possible NetworkConnection "the network connection may lead to another VPC, or its vSwitch be in a zone \
             without access";
        }
        (ConnectUnreachable, Public) => {
            Likely InternetAccess "there is no route from this job: ask for the target in the project's list of \
             external addresses, and SET odps.internet.access.list=<host>:<port>";
            Possible Name "the platform has no IPv6: option address_family ipv4";
        }
        (ConnectUnreachable, _) => {
            Likely JobFlag "there is no route from this job: set odps.session.networklink, or for the \
             Internet ask for the target in odps.internet.access.list";
        }
        (TlsExpired | TlsNotYetValid, _) => {
            Likely Certificate "the certificate must be renewed at the target, or this machine's clock is \
             wrong";
            Possible Machine "compare this machine's clock with the certificate's dates";
        }
        (TlsWrongName, _) => {
            Likely Certificate "the address belongs to another server, or the host name in hosts is not the \
             certificate's";
            Possible Name "a pin that is out of date leads to another server: resolve again (pinlink \
             resolve)";
        }
        (TlsTimeout, _) => {
            Likely Target "the port is open and says nothing: behind the proxy or the load balancer no \
             service may listen, or it speaks no TLS";
            Possible SecurityGroup "a middle box that lets the connection through and drops what follows looks \
             the same";
        }
        (DnsTimeout | DnsServFail, _) => {
            Likely Name "the job's DNS is overloaded or out of reach: ship a pin set (pinlink resolve \
             HOST... --output pins.json; option pin_set), or raise resolve_timeout";
            Possible JobFlag "without the network connection a private name is not answered: SET \
             odps.session.networklink=<name>";
        }
        (DnsNxDomain | DnsNoData | DnsRefused, _) => {
            Likely Name "check the name; a private name resolves only inside its VPC: set \
             odps.session.networklink, or pin it (option pins)";
            Possible InternetAccess "a public name must be on the project's list of external addresses, and in \
             the job's: SET odps.internet.access.list=<host>:<port>";
        }
        (ConnectReset | ConnectClosed, _) => {
            Likely Proxy "the proxy or the target drops connections: lower max_connections (or set \
             job_connections) and keep max_idle below the proxy's idle limit";
        }
        (ConnectLocalPorts | ConnectResource, _) => {
            Likely Job "share one client per process and lower max_connections";
        }
        (DnsAliasLimit | DnsProtocol, _) => {
            Likely Name "ask another name server (option nameservers) or pin the host (option pins)";
        }
        (ConfigNoResolver, _) => {
            Likely Name "give nameservers, pins or pin_set";
        }
        (ConfigTrust, _) => {
            Likely Configuration "give a readable PEM file with at least one CA certificate (option ca_file)";
        }
        (ConfigKey, _) => {
            Likely Configuration "give a PEM certificate chain and its PEM key without a passphrase (openssl \
             pkey -in KEY -out PLAIN)";
        }
        (ConfigPinSet | ConfigPinSetExpired, _) => {
            Likely Configuration "write it again with `pinlink resolve`, inside the job's network";
        }
        (Overloaded | TimeoutAcquire, _) => {
            Likely Job "send less at once, or raise max_connections_per_origin within what the proxy \
             allows";
        }
        (PolicyNotDeclared, _) => {
            Likely Configuration "declare it in hosts; only declared origins are reachable";
        }
        (PolicyAddress, _) => {
            Likely Configuration "if this address is meant, allow it (option allow_addresses)";
        }
        (PolicyDowngrade | LimitRedirects, _) => {
            Likely Target "ask for the URL at which the redirects end";
        }
        (PolicyNotPinned, _) => {
            Likely Configuration "give its addresses in pins or pin_set; wildcard hosts are never looked up";
        }
        (LimitHeaders | LimitInterim | LimitBody, _) => {
            Likely Configuration "raise the limit only if the target is known to send that much";
        }
        (LimitDecode | ProtocolDecode, _) => {
            Likely Target "ask the target for the body as it is: send Accept-Encoding: identity";
        }
        (ProxyAuth, _) => {
            Likely Proxy "give user and password in option proxy: http://user:password@host:port, \
             percent-encoded";
        }
        (ProxyStatus | ProxyUnavailable, _) => {
            Likely Proxy "ask the proxy's owner to allow tunnels to this address and port, and whether \
             the proxy has a route to it";
        }
        (ProxyProtocol, _) => {
            Likely Proxy "check scheme, host and port in option proxy: something else may listen there";
        }
        (ProxyTimeout, _) => {
            Likely Proxy "check that the proxy of option proxy is up and within this job's reach, or \
             raise connect_timeout";
        }
        (TimeoutTotal, _) => {
            Likely Job "raise timeout, and keep it below odps.function.timeout";
        }
        (TimeoutStalled, _) => {
            Likely Target "the target or the proxy stopped moving bytes: raise stall_timeout if it is \
             known to be slow";
        }
        (TlsUnknownIssuer, _) => {
            Likely Certificate "give the issuing CA (option ca_file), or allow the machine's own (option \
             system_roots)";
        }
        (TlsClientAuth, _) => {
            Likely Certificate "give a certificate that the target knows (options client_cert and \
             client_key)";
        }
        (TlsAlpn, _) => {
            Likely Target "set protocol, or alpn for connect_tls, to what the target speaks";
        }
        (TlsNotTls, _) => {
            Likely Target "check the port and the scheme: this port does not speak TLS";
        }
        (WriteOutcomeUnknown, _) => {
            Likely Target "with a key, write the same again: the outcome is known then; without one, \
             ask the target whether it happened";
        }
        (ConfigLibrary, _) => {
            Likely Isolation "ship the library beside the job (property pinlink.library), or let native \
             code run: set odps.isolation.session.enable=true";
        }
        (ConfigShared, _) => {
            Likely Configuration "give everyone who shares a client the same options, or build clients of \
             their own";
        }
        (WriteRejected, _) => {
            Likely Target "read status and body of the answer (Error::status, Error::body); the same \
             write would be refused again";
        }
        (WriteMismatch, _) => {
            Likely Job "make the body the same in every execution: no time stamps or random values \
             in it, rows in a fixed order; or put what differs into the key";
        }
        (WriteConflict, _) => {
            Likely Target "read what stands there; a name that holds the key ({key} in the URL) is \
             nobody else's";
        }
        (WriteLedger, _) => {
            Likely Target "see the cause: the store that keeps the claims was not reached, or refused";
        }
        (WriteUnkeyed, _) => {
            Likely Job "give a key and the target's profile, use the ledger, or accept that a \
             re-executed node writes twice (unkeyed)";
        }
}

/// The one step that an error's line names.
pub(crate) fn first_step(reason: Reason, place: Place) -> &'static str {
    causes(reason, place).first().map_or("", |cause| cause.step)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_private_where_the_internet_can_t_have_it() {
        let place = |text: &str| Place::of(Some(text.parse().unwrap()));
        for private in
            ["10.0.0.1", "172.31.0.1", "192.168.9.9", "100.64.0.1", "100.127.9.9", "fd00::1", "::ffff:10.0.0.1"]
        {
            assert_eq!(place(private), Place::Private, "{private}");
        }
        for public in ["47.1.2.3", "172.32.0.1", "100.128.0.1", "2001:db8::1"] {
            assert_eq!(place(public), Place::Public, "{public}");
        }
        for near in ["127.0.0.1", "169.254.1.1", "::1", "fe80::1"] {
            assert_eq!(place(near), Place::Unknown, "{near}");
        }
        assert_eq!(Place::of(None), Place::Unknown);
    }

    #[test]
    fn a_timeout_sends_private_targets_to_the_connection_and_public_ones_to_the_list() {
        let layers = |place| causes(Reason::ConnectTimeout, place).iter().map(|cause| cause.layer).collect::<Vec<_>>();
        let [private, public] = [layers(Place::Private), layers(Place::Public)];
        assert_eq!(private[..3], [Layer::JobFlag, Layer::SecurityGroup, Layer::WhiteList]);
        assert_eq!(public[0], Layer::InternetAccess);
        assert!(!private.contains(&Layer::InternetAccess) && !public.contains(&Layer::SecurityGroup));
    }

    #[test]
    fn every_step_is_one_line_and_the_surest_come_first() {
        for reason in Reason::ALL {
            for place in [Place::Private, Place::Public, Place::Unknown] {
                let causes = causes(*reason, place);
                assert!(causes.is_sorted_by_key(|cause| cause.certainty), "{reason:?}");
                assert!(causes.iter().all(|cause| !cause.step.is_empty() && !cause.step.contains('\n')), "{reason:?}");
            }
        }
    }

    #[derive(serde::Deserialize)]
    struct Known {
        id: String,
        reasons: Vec<String>,
        host: String,
        part: String,
    }

    #[derive(serde::Deserialize)]
    struct Facts {
        cause: Vec<Known>,
    }

    #[test]
    fn what_the_facts_of_the_plan_know_is_among_the_causes() {
        let facts: Facts = toml::from_str(include_str!("../plan/facts.toml")).unwrap();
        assert!(facts.cause.len() > 20);
        for known in facts.cause {
            let places = match known.host.as_str() {
                "private" => vec![Place::Private],
                "public" => vec![Place::Public],
                _ => vec![Place::Private, Place::Public, Place::Unknown],
            };
            for name in &known.reasons {
                let reason = Reason::ALL.iter().find(|reason| reason.as_str() == name).expect(name);
                for &place in &places {
                    let layers = causes(*reason, place).iter().map(|cause| cause.layer.as_str());
                    assert!(layers.clone().any(|layer| layer == known.part), "{}: {name} {place:?}", known.id);
                }
            }
        }
    }
}
