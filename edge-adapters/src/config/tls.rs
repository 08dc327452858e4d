//! The table `tls` of a device.

use super::keys::{Keys, quoted};
use crate::tls::Tls;

/// Reads it. The files are looked at when a connection is made.
pub(super) fn read(mut keys: Keys<'_>) -> Tls {
    let tls = of(&mut keys);
    keys.finish();
    tls
}

/// Reads it where the authority must be named, and certificates must be there at the start. A key need not: a person who
/// checks the configuration may not be allowed to read it, and has none of the service's credentials.
#[cfg(feature = "modbus-tls")]
pub(super) fn read_whole(mut keys: Keys<'_>) -> Tls {
    if !keys.has("ca_file") {
        let expected = "a PEM file with the certificate of the authority that signed the device's, or with the device's own";
        keys.wrong("ca_file", "nothing", expected);
    }
    let tls = of(&mut keys);
    let expected = "a PEM file that this program may read, with what the key says";
    if tls.ca_file.is_some() {
        if let Err(why) = tls.authorities() {
            keys.wrong("ca_file", why, expected);
        } else if let Err(why) = tls.own_certificates() {
            keys.wrong("certificate_file", why, expected);
        }
    }
    keys.finish();
    tls
}

fn of(keys: &mut Keys<'_>) -> Tls {
    let ca_file = keys.path("ca_file");
    let (certificate, key) = (keys.path("certificate_file"), keys.secret("key_file"));
    let server_name = keys.text("server_name");
    let identity = match (certificate, key) {
        (Some(certificate), Some(key)) => Some((certificate, key)),
        (None, None) => None,
        _ => {
            keys.wrong("certificate_file", "one of certificate_file and key_file", "both or none of them");
            None
        }
    };
    let tls = Tls { ca_file, identity, server_name };
    if let Some(Err(_)) = tls.server_name.as_deref().map(|name| tls.name(name)) {
        let found = quoted(tls.server_name.as_deref().unwrap_or_default());
        keys.wrong("server_name", found, "the name in the other side's certificate: broker.plant.example");
    }
    tls
}
