//! Whom the server trusts for where a request comes from: web pages by their `Origin`, and itself by the names in `Host`.
//! Every door asks here, once for each request, before anything looks at what the request wants.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// From where a listener can be reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exposure {
    /// From this machine only: from every page that its browsers show, too.
    Loopback,
    /// From other machines.
    Network,
}

impl Exposure {
    /// Of a listener on this address.
    pub fn of(address: IpAddr) -> Exposure {
        if address.is_loopback() { Exposure::Loopback } else { Exposure::Network }
    }
}

/// The pages that may use the server, and the names under which it may be reached on loopback.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trust {
    /// `scheme://host[:port]`, beside the pages that are trusted anyway.
    pub origins: Allowed,
    /// Names without ports, beside the loopback names.
    pub hosts: Allowed,
}

/// What the operator allows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Allowed {
    /// Everything.
    All,
    /// These; case does not matter.
    Listed(Vec<String>),
}

/// Why a request is refused, whatever it asks for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Untrusted {
    /// A page that is not welcome.
    #[error("pages of '{0}' may not use this server; the operator can allow them with --origins '{0}'")]
    Page(String),
    /// A page that no list can name.
    #[error(
        "pages without an origin (files, sandboxed frames) may not use this server; the operator can allow all pages with --origins '*'"
    )]
    Nameless,
    /// A name of this server that may be somebody else's: a page whose name leads here by its DNS.
    #[error("this server is not known as '{0}'; the operator can allow that name with --hosts '{0}'")]
    Host(String),
}

impl Default for Trust {
    fn default() -> Trust {
        Trust { origins: Allowed::Listed(Vec::new()), hosts: Allowed::Listed(Vec::new()) }
    }
}

impl Trust {
    /// Whether a request with these values of `Host` and `Origin` may be looked at. Programs send no origin.
    ///
    /// # Errors
    /// It may not. The response is 403, and lets no page read it.
    pub fn admit(&self, at: Exposure, host: Option<&str>, origin: Option<&str>) -> Result<(), Untrusted> {
        let name = host.map(without_port).unwrap_or_default();
        let known = name.is_empty() || is_loopback(name) || is_single_label(name) || self.hosts.allow(name);
        if at == Exposure::Loopback && !known {
            return Err(Untrusted::Host(name.to_owned()));
        }
        let Some(origin) = origin else { return Ok(()) };
        if self.origins.allow(origin) || is_own(at, host.unwrap_or_default(), origin) {
            return Ok(());
        }
        Err(if origin == "null" { Untrusted::Nameless } else { Untrusted::Page(origin.to_owned()) })
    }
}

impl Allowed {
    /// What a setting lists; `*` is everything.
    pub fn new(listed: Vec<String>) -> Allowed {
        if listed.iter().any(|one| one == "*") { Allowed::All } else { Allowed::Listed(listed) }
    }

    fn allow(&self, one: &str) -> bool {
        match self {
            Allowed::All => true,
            Allowed::Listed(list) => list.iter().any(|listed| listed.eq_ignore_ascii_case(one)),
        }
    }
}

impl Untrusted {
    /// The name of the error for programs.
    pub fn code(&self) -> &'static str {
        match self {
            Untrusted::Page(_) | Untrusted::Nameless => "origin_not_allowed",
            Untrusted::Host(_) => "host_not_allowed",
        }
    }
}

/// Whether a page is one of the server's own: of the address that it has asked, or, on loopback, of this machine.
fn is_own(at: Exposure, host: &str, origin: &str) -> bool {
    let Some((scheme, authority)) = origin.split_once("://") else { return false };
    let port = match scheme.to_ascii_lowercase().as_str() {
        "http" => ":80",
        "https" => ":443",
        _ => return false,
    };
    let same = host.strip_suffix(port).unwrap_or(host).eq_ignore_ascii_case(authority);
    same && !authority.is_empty() || at == Exposure::Loopback && is_loopback(without_port(authority))
}

/// `host`, `host:port`, `[address]` or `[address]:port` without the port. What has none of these forms stays as it is.
fn without_port(authority: &str) -> &str {
    let is_port = |port: &str| port.bytes().all(|byte| byte.is_ascii_digit());
    match authority.rsplit_once(':') {
        Some((name, port)) if is_port(port) && (!name.contains(':') || name.ends_with(']')) => name,
        _ => authority,
    }
}

/// Whether a name always leads to this machine (RFC 6761, 6.3), or is an address that does.
fn is_loopback(name: &str) -> bool {
    let inner = name.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    if let Some(address) = inner {
        return address.parse().is_ok_and(|at: Ipv6Addr| IpAddr::V6(at).to_canonical().is_loopback());
    }
    let ends_in = |suffix: &str| {
        name.len()
            .checked_sub(suffix.len())
            .and_then(|at| name.get(at..))
            .is_some_and(|end| end.eq_ignore_ascii_case(suffix))
    };
    name.eq_ignore_ascii_case("localhost")
        || ends_in(".localhost")
        || name.parse().is_ok_and(|at: Ipv4Addr| at.is_loopback())
}

/// Whether a name is one label, such as that of a machine of the local network or of a container. No page of the internet
/// has such an origin: names that somebody can register have a dot.
fn is_single_label(name: &str) -> bool {
    name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

#[cfg(test)]
mod tests {
    use super::{Allowed, Exposure, Trust, Untrusted};
    use Exposure::{Loopback, Network};

    fn trust(origins: &[&str], hosts: &[&str]) -> Trust {
        let list = |list: &[&str]| Allowed::new(list.iter().map(|one| (*one).to_owned()).collect());
        Trust { origins: list(origins), hosts: list(hosts) }
    }

    #[test]
    fn the_names_of_this_machine_are_known_and_no_other() {
        for (host, known) in [
            ("localhost", true),
            ("LocalHost:8800", true),
            ("app.localhost:1", true),
            ("127.0.0.1", true),
            ("127.8.9.10:80", true),
            ("[::1]:8800", true),
            ("[::ffff:127.0.0.1]", true),
            ("[0:0:0:0:0:0:0:1]", true),
            ("", true),
            ("evil.example", false),
            ("localhost.evil.example", false),
            ("127.0.0.1.evil.example:8800", false),
            ("buildhost", true),
            ("my-machine:8800", true),
            ("machine.", false),
            ("localhost:80@evil.example", false),
            ("localhost:80:80", false),
            ("[::1].evil.example", false),
            ("[::1", false),
            ("::1", false),
            ("0.0.0.0", false),
            ("192.0.2.1", false),
            ("ölocalhost", false),
        ] {
            let refusal = trust(&[], &[]).admit(Loopback, Some(host), None);
            assert_eq!(refusal.is_ok(), known, "{host}");
            assert_eq!(trust(&[], &[]).admit(Network, Some(host), None), Ok(()), "{host}");
        }
        assert_eq!(trust(&[], &[]).admit(Loopback, None, None), Ok(()), "HTTP/1.0");
        let listed = trust(&[], &["app.example"]);
        assert_eq!(listed.admit(Loopback, Some("APP.example:1"), None), Ok(()));
        assert_eq!(
            listed.admit(Loopback, Some("b.app.example:1"), None),
            Err(Untrusted::Host("b.app.example".into()))
        );
        assert_eq!(trust(&[], &["*"]).admit(Loopback, Some("any.example"), None), Ok(()));
    }

    #[test]
    fn pages_of_this_machine_of_the_same_origin_and_of_the_list_are_welcome() {
        let listed = trust(&["https://app.test"], &["own.test"]);
        for (at, host, origin, welcome) in [
            (Loopback, "127.0.0.1:8800", "http://localhost:5173", true),
            (Loopback, "localhost:8800", "https://127.0.0.1", true),
            (Loopback, "localhost:8800", "http://[::1]:1", true),
            (Loopback, "localhost:8800", "http://evil.test", false),
            (Loopback, "localhost:8800", "http://localhost.evil.test", false),
            (Loopback, "localhost:8800", "null", false),
            (Loopback, "localhost:8800", "tauri://localhost", false),
            (Loopback, "localhost:8800", "http://localhost:1, http://localhost:1/", false),
            (Loopback, "own.test", "https://own.test", true),
            (Loopback, "localhost", "HTTPS://App.Test", true),
            (Network, "own.test:8800", "http://OWN.test:8800", true),
            (Network, "own.test:443", "https://own.test", true),
            (Network, "own.test:443", "http://own.test", false),
            (Network, "own.test:8800", "http://own.test", false),
            (Network, "own.test", "http://localhost:5173", false),
            (Network, "own.test", "https://app.test", true),
            (Network, "own.test", "http://app.test", false),
            (Network, "own.test", "https://app.test.evil", false),
            (Network, "own.test", "null", false),
            (Network, "", "http://", false),
        ] {
            let welcome_now = listed.admit(at, Some(host), Some(origin)).is_ok();
            assert_eq!(welcome_now, welcome, "{at:?} {host} {origin}");
            let all = trust(&["*"], &["own.test"]);
            assert_eq!(all.admit(at, Some(host), Some(origin)), Ok(()));
        }
    }

    #[test]
    fn a_refusal_says_what_to_set() {
        let said = |host, origin| {
            let refusal = trust(&[], &[]).admit(Loopback, Some(host), origin).expect_err("a stranger");
            (refusal.code(), refusal.to_string())
        };
        let (code, text) = said("localhost", Some("https://evil.test"));
        assert!(code == "origin_not_allowed" && text.ends_with("--origins 'https://evil.test'"), "{text}");
        let (code, text) = said("localhost", Some("null"));
        assert!(code == "origin_not_allowed" && text.ends_with("--origins '*'"), "{text}");
        let (code, text) = said("evil.test:8800", None);
        assert!(code == "host_not_allowed" && text.ends_with("--hosts 'evil.test'"), "{text}");
    }
}
