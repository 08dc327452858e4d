//! Another configuration while the gateway runs: what changed is taken, what did not is not disturbed, what is wrong
//! changes nothing.

use selvedge_tests::device::Device;
use selvedge_tests::eventually;
use selvedge_tests::process::{Output, Process, Signal};
use selvedge_tests::site::Site;
use serde_json::Value;

/// A `[[device]]` that reads the first counter of a device every 50 ms.
fn table(name: &str, device: &Device, stream: &str) -> String {
    let port = device.port();
    format!(
        "[[device]]\nname = \"{name}\"\nprotocol = \"modbus-tcp\"\naddress = \"127.0.0.1:{port}\"\n\
         poll_interval = \"50ms\"\n\n[[device.stream]]\nname = \"{stream}\"\nregister = \"holding:1000\"\ntype = \"u32\"\n\n"
    )
}

/// A `[[device]]` with so many streams, all of which show one register.
fn many(name: &str, device: &Device, count: usize, register: u16) -> String {
    let port = device.port();
    let head = format!(
        "[[device]]\nname = \"{name}\"\nprotocol = \"modbus-tcp\"\naddress = \"127.0.0.1:{port}\"\n\
         poll_interval = \"100ms\"\n\n"
    );
    let stream = |at| {
        format!(
            "[[device.stream]]\nname = \"{name}/{at}\"\nregister = \"holding:{register}\"\ntype = \"u16\"\n\
             deadband = 1\n"
        )
    };
    (0..count).map(stream).fold(head, |text, stream| text + &stream)
}

fn devices(site: &Site) -> Vec<Value> {
    site.status()["devices"].as_array().expect("a list").clone()
}

fn names(devices: &[Value]) -> Vec<&str> {
    devices.iter().map(|device| device["name"].as_str().expect("a name")).collect()
}

/// Waits until these devices, and no others, have given a good reading.
fn up(site: &Site, expected: &[&str]) -> Vec<Value> {
    eventually(&format!("{expected:?} that answer"), || {
        let devices = devices(site);
        let all_up =
            devices.iter().all(|device| device["state"] == "up" && device["readings"].as_u64() > Some(0));
        if names(&devices) == expected && all_up { Ok(devices) } else { Err(Value::from(devices)) }
    })
}

fn reload(site: &Site, node: &Process, devices: &str, says: &str) {
    let from = node.lines(Output::Err).len();
    site.configure(devices);
    node.signal(Signal::HUP);
    node.line_from(Output::Err, from, says, |line| line.contains(says));
}

#[test]
fn sighup_takes_another_configuration_by_difference() {
    let (site, first, second) = (Site::new(), Device::start(), Device::start());
    let (same, other) = (table("same", &first, "a"), table("other", &second, "b"));
    site.configure(&format!("{same}{other}"));
    let node = site.run();
    up(&site, &["same", "other"]);

    // Another interval for one, nothing for the other: only the one makes a new connection.
    let slower = other.replace("50ms", "60ms");
    reload(
        &site,
        &node,
        &format!("# A comment is no change.\n{same}{slower}"),
        "the configuration was taken",
    );
    let both = up(&site, &["same", "other"]);
    assert_eq!(both[0]["figures"]["connections"], 1, "{}", both[0]);

    // A wrong file changes nothing and says where it is wrong.
    let wrong = format!("{same}{}", slower.replace("poll_interval", "pol_interval"));
    reload(&site, &node, &wrong, "so nothing was changed");
    let said = node.lines(Output::Err).join("\n");
    assert!(
        said.contains("selvedge.toml:") && said.contains("pol_interval") && said.contains("did you mean"),
        "{said}"
    );
    let both = up(&site, &["same", "other"]);
    assert_eq!(
        (&both[0]["figures"]["connections"], &both[1]["figures"]["connections"]),
        (&Value::from(1), &Value::from(1))
    );

    // One goes, one comes under the name of a stream that was there: its counter goes on.
    let third = table("third", &second, "b");
    reload(&site, &node, &format!("{third}{same}"), "the configuration was taken");
    let both = up(&site, &["third", "same"]);
    assert_eq!(both[1]["figures"]["connections"], 1, "{}", both[1]);

    // Something else than devices changed: it is said, and the devices are taken all the same.
    let from = node.lines(Output::Err).len();
    site.configure_exactly(&format!("[batch]\nreadings = 300\n{same}"));
    node.signal(Signal::HUP);
    node.line_from(Output::Err, from, "next start", |line| {
        line.contains("takes effect at the next start only")
    });
    let left = up(&site, &["same"]);
    assert_eq!(left[0]["figures"]["connections"], 1, "{}", left[0]);

    node.end_with(Signal::TERM).expect(0);
    for stream in ["a", "b"] {
        let readings = site.readings(stream);
        assert!(!readings.is_empty());
        for (expected, reading) in (0_u64..).zip(&readings) {
            assert_eq!(
                reading["counter"].as_u64(),
                Some(expected),
                "{stream}: a gap or a repetition: {reading}"
            );
        }
    }
}

/// A gateway has 4,096 handles of streams. Two devices use nearly all of them and swap their sizes: what stops gives its
/// handles back before anything starts, and no reading turns up under the name of another stream.
#[test]
fn devices_swap_their_sizes_where_there_is_hardly_a_stream_left() {
    let (site, first, second) = (Site::new(), Device::start(), Device::start());
    let value = |stream: &str| {
        let done = site.ask(&["readings", stream, "--last", "1", "--json"]);
        done.json_lines().pop().filter(|last| last["quality"] == "good").map(|last| last["value"].clone())
    };
    let shows = |stream: &str, expected: u64| {
        eventually(&format!("{expected} in {stream}"), || match value(stream) {
            Some(seen) if seen == expected => Ok(()),
            seen => Err(format!("{seen:?}")),
        });
    };
    site.configure(&(many("a", &first, 3_000, 2) + &many("b", &second, 1_000, 3)));
    let node = site.run();
    shows("a/2999", 54_321);
    shows("b/999", 12_756);
    let swapped = many("b", &second, 3_000, 3) + &many("a", &first, 1_000, 2);
    reload(&site, &node, &swapped, "the configuration was taken");
    up(&site, &["b", "a"]);
    for stream in ["a/0", "a/999"] {
        shows(stream, 54_321);
    }
    for stream in ["b/0", "b/999", "b/2999"] {
        shows(stream, 12_756);
    }
    // One more than there are is refused, and nothing changes.
    let too_many = many("b", &second, 3_000, 3) + &many("a", &first, 1_097, 2);
    reload(&site, &node, &too_many, "so nothing was changed");
    up(&site, &["b", "a"]);
    node.end_with(Signal::TERM).expect(0);
}
