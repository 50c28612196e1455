//! `listeners` and `advertised.listeners`: names and addresses.

use super::{Layers, list};

/// The name of an address that bears none.
const PLAINTEXT: &str = "PLAINTEXT";

/// One address of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listener {
    /// In capitals. None: only the address was given.
    pub name: Option<String>,
    /// Empty: every address of this machine.
    pub host: String,
    pub port: u16,
}

impl Listener {
    /// Reads `NAME://host:port`, `host:port`, `[::1]:port` or `:port`.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let (name, address) = match text.split_once("://") {
            Some((name, address)) => (Some(name.to_ascii_uppercase()), address),
            None => (None, text),
        };
        let (host, port) = address.rsplit_once(':')?;
        let host = host.trim_start_matches('[').trim_end_matches(']');
        Some(Self { name, host: host.to_owned(), port: port.parse().ok()? })
    }

    /// Reads a list of them; the complaint names the one that is none.
    pub fn parse_all(text: &str) -> Result<Vec<Self>, String> {
        let one = |text| Self::parse(text).ok_or_else(|| format!("{text} is no address: write NAME://host:port"));
        list(text).map(one).collect()
    }

    pub fn name(&self) -> &str {
        self.name.as_deref().unwrap_or(PLAINTEXT)
    }
}

/// The listeners that are to be opened: all but those of the controller, which is not there.
pub fn to_open(layers: &Layers) -> Result<Vec<Listener>, String> {
    let all = Listener::parse_all(layers.text("listeners"))?;
    let is_controllers =
        |name: &str| list(layers.text("controller.listener.names")).any(|other| other.eq_ignore_ascii_case(name));
    let opened: Vec<_> = all.into_iter().filter(|listener| !is_controllers(listener.name())).collect();
    if opened.is_empty() {
        return Err("there is no listener for clients".to_owned());
    }
    for (index, listener) in opened.iter().enumerate() {
        let protocol = protocol(layers, listener.name());
        if protocol != PLAINTEXT {
            let name = listener.name();
            return Err(format!("{name} is to speak {protocol}: there is no TLS and no SASL here yet, only PLAINTEXT"));
        }
        if opened.iter().take(index).any(|other| other.name() == listener.name()) {
            return Err(format!("the name {} stands twice", listener.name()));
        }
    }
    Ok(opened)
}

/// What `listener.security.protocol.map` says of the name; a name of its own that is not in the map speaks plain text.
fn protocol(layers: &Layers, name: &str) -> String {
    let pairs = list(layers.text("listener.security.protocol.map")).filter_map(|pair| pair.split_once(':'));
    let mut found = pairs.filter(|(mapped, _)| mapped.trim().eq_ignore_ascii_case(name));
    found.next().map_or_else(|| PLAINTEXT.to_owned(), |(_, protocol)| protocol.trim().to_ascii_uppercase())
}

/// What clients are told to dial; each must name a host.
pub fn advertised(layers: &Layers) -> Result<Vec<Listener>, String> {
    let all = Listener::parse_all(layers.text("advertised.listeners"))?;
    match all.iter().find(|listener| listener.host.is_empty() || listener.host == "0.0.0.0") {
        Some(listener) => Err(format!("{} names no host that a client could dial", listener.name())),
        None => Ok(all),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn fixed(pairs: &[(&str, &str)]) -> Layers {
        let fixed = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Layers { fixed, ..Layers::default() }
    }

    #[test]
    fn forms_of_an_address() {
        let listener = |name: Option<&str>, host: &str, port| {
            Some(Listener { name: name.map(str::to_owned), host: host.to_owned(), port })
        };
        assert_eq!(Listener::parse("plaintext://a.b:1"), listener(Some("PLAINTEXT"), "a.b", 1));
        assert_eq!(Listener::parse("localhost:9092"), listener(None, "localhost", 9092));
        assert_eq!(Listener::parse("PLAINTEXT://[::1]:7"), listener(Some("PLAINTEXT"), "::1", 7));
        assert_eq!(Listener::parse(":9092"), listener(None, "", 9092));
        assert_eq!(Listener::parse("nothing"), None);
        assert_eq!(Listener::parse("host:70000"), None);
    }

    #[test]
    fn a_rigs_listeners_without_the_controllers() {
        let layers = fixed(&[
            ("listeners", "PLAINTEXT://:9092,HOST://:29092,CONTROLLER://:9093"),
            ("controller.listener.names", "CONTROLLER"),
            ("listener.security.protocol.map", "CONTROLLER:PLAINTEXT,HOST:PLAINTEXT"),
        ]);
        let names: Vec<_> = to_open(&layers).unwrap().iter().map(|listener| listener.name().to_owned()).collect();
        assert_eq!(names, ["PLAINTEXT", "HOST"]);
        assert_eq!(to_open(&Layers::default()).unwrap()[0].port, 9092);
        assert!(to_open(&fixed(&[("listeners", "SSL://:9093")])).unwrap_err().contains("no TLS"));
        assert!(to_open(&fixed(&[("listeners", "A://:1,a://:2")])).unwrap_err().contains("twice"));
        assert!(advertised(&fixed(&[("advertised.listeners", "PLAINTEXT://:9092")])).is_err());
    }
}
