//! All transports, units that share a line, and answers that come late, against pymodbus.

use std::fs;
use std::path::Path;

use edge_adapters::DeviceState;
use selvedge_core::reading::{Quality, Value};

use crate::plant::{Plant, reached, registers};
use crate::values::all_values_are_read;

#[tokio::test]
async fn every_type_in_every_order_is_read_as_rtu_over_tcp() {
    let device = reached("rtu-over-tcp", &[]);
    all_values_are_read(&format!("{}max_registers = 40", device.lines), &device.said).await;
}

#[tokio::test]
async fn every_type_in_every_order_is_read_on_a_serial_line() {
    let device = reached("rtu", &[]);
    all_values_are_read(&device.lines, &device.said).await;
}

/// An authority, and certificates of a device and a gateway that it has signed: PEM files in this folder.
pub(crate) fn certificates(folder: &Path) {
    let key = |name: &str| {
        let key = rcgen::KeyPair::generate().expect("a key");
        fs::write(folder.join(name), key.serialize_pem()).expect("written");
        key
    };
    let ca_key = key("ca.key");
    let mut ca = rcgen::CertificateParams::new(Vec::new()).expect("parameters");
    // Not the name that rcgen gives to all: a certificate with its authority's name counts as signed by itself.
    ca.distinguished_name.push(rcgen::DnType::CommonName, "authority");
    ca.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let ca_pem = ca.self_signed(&ca_key).expect("a certificate").pem();
    fs::write(folder.join("ca.pem"), ca_pem).expect("written");
    let issuer = rcgen::Issuer::new(ca, ca_key);
    for name in ["device", "gateway"] {
        let mut params = rcgen::CertificateParams::new(vec![format!("{name}.plant")]).expect("parameters");
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        let certificate = params.signed_by(&key(&format!("{name}.key")), &issuer).expect("signed");
        fs::write(folder.join(format!("{name}.pem")), certificate.pem()).expect("written");
    }
}

#[tokio::test]
async fn every_type_is_read_over_tls_and_only_with_the_right_certificates() {
    let folder = tempfile::tempdir().expect("a folder");
    certificates(folder.path());
    let other = tempfile::tempdir().expect("a folder");
    certificates(other.path());
    let at = |folder: &Path, name: &str| folder.join(name).display().to_string();
    let (certificate, key) = (at(folder.path(), "device.pem"), at(folder.path(), "device.key"));
    let ca = at(folder.path(), "ca.pem");
    let device = reached("tls", &["--certificate", &certificate, "--key", &key, "--ca", &ca]);
    let tls = |ca_folder: &Path, own: Option<&Path>, name: &str| {
        let own = own.map_or_else(String::new, |own| {
            let (certificate, key) = (at(own, "gateway.pem"), at(own, "gateway.key"));
            format!("certificate_file = \"{certificate}\"\nkey_file = \"{key}\"\n")
        });
        let ca = at(ca_folder, "ca.pem");
        format!(
            "{}timeout = \"5s\"\n[device.tls]\nca_file = \"{ca}\"\nserver_name = \"{name}\"\n{own}",
            device.lines
        )
    };
    let (right, wrong) = (folder.path(), other.path());
    all_values_are_read(&tls(right, Some(right), "device.plant"), &device.said).await;
    for (lines, why) in [
        (tls(wrong, Some(right), "device.plant"), "invalid peer certificate"),
        (tls(right, Some(right), "another.plant"), "not valid for"),
        // The device closes on a gateway that it does not know; TLS 1.3 says so only after the handshake, when the first
        // question is under way. "The device closed the connection" once was all that a person was told of it.
        (tls(right, Some(wrong), "device.plant"), "does not trust this"),
        (tls(right, None, "device.plant"), "wants"),
    ] {
        let mut plant = Plant::start(&registers("a", &lines, &[2]), None);
        plant.until("a refusal", |plant| plant.device("a").state == DeviceState::Down).await;
        let error = plant.device("a").error.expect("a reason");
        assert!(error.contains(why) && error.contains("certificate"), "{why}: {error}");
        assert_eq!(plant.good("a/2"), 0);
    }
}

/// Complaint 2. Units 1 to 3 live on one serial line, 8 and 9 do not.
#[tokio::test]
async fn dead_units_on_a_serial_line_do_not_slow_the_living() {
    let device = reached("rtu", &["--units", "2,3", "--silent-units"]);
    let mut text = String::new();
    for unit in [9, 1, 8, 2, 3] {
        let lines =
            format!("{}unit_id = {unit}\npoll_interval = \"100ms\"\ntimeout = \"300ms\"\n", device.lines);
        text += &registers(&format!("u{unit}"), &lines, &[5]);
    }
    let started = std::time::Instant::now();
    let mut plant = Plant::start(&text, None);
    let living = ["u1", "u2", "u3"];
    let all = |plant: &Plant, polls| living.iter().all(|unit| plant.good(&format!("{unit}/5")) >= polls);
    plant.until("the first values", |plant| all(plant, 1)).await;
    plant.until("100 polls of each living unit", |plant| all(plant, 100)).await;
    for unit in ["u8", "u9"] {
        let dead = plant.device(unit);
        assert_eq!(dead.state, DeviceState::Down, "{unit}: {dead:?}");
        assert!(dead.next_attempt_ns.is_some(), "{unit}: {dead:?}");
    }
    // Each was tried once, and then no attempt of 600 ms (time-out and silence) began before nine times as long was over.
    // By back-off alone both would have been tried four times and more.
    let attempts = plant.device("u8").requests + plant.device("u9").requests;
    let allowed = 3 + started.elapsed().as_millis() / 5_400;
    assert!(u128::from(attempts) <= allowed, "{attempts} attempts in {:?}", started.elapsed());
    for unit in living {
        let living = plant.device(unit);
        assert_eq!((living.state, living.errors.timeout), (DeviceState::Up, 0), "{unit}");
        // An attempt takes the line for six of their intervals. With both of the dead tried between any two of their polls,
        // eleven would be left out for each that is made; now it is one for each few, on a machine that has nothing else to do.
        let (made, left_out) = (living.polls, living.polls_skipped_late);
        assert!(left_out <= 4 * made, "{unit}: {left_out} polls left out, {made} made");
    }
    let values = |unit: &str| {
        let of = plant.readings.iter().filter(move |(name, _)| name.starts_with(unit));
        of.map(|(_, reading)| reading.value.clone()).collect::<Vec<_>>()
    };
    assert!(values("u2").iter().all(|value| *value == Value::Unsigned(2_005)));
    assert!(values("u3").iter().all(|value| *value == Value::Unsigned(3_005)));
    let opened: u64 = ["u1", "u2", "u3", "u8", "u9"].iter().map(|unit| plant.device(unit).connections).sum();
    assert!(opened <= 2, "the port was opened {opened} times");
}

/// Complaint 4. Unit 2 holds 2005 in register 5 and 2050 in register 50. Register 50 is answered late: by then the next
/// poll asks for register 5.
async fn a_late_answer_is_never_another_registers_value(over: &str) {
    let mut device = reached(over, &["--units", "2"]);
    let lines = format!("{}unit_id = 2\npoll_interval = \"50ms\"\ntimeout = \"200ms\"\n", device.lines);
    let mut plant = Plant::start(&registers("u", &lines, &[5, 50]), None);
    plant.until("values", |plant| plant.good("u/5") >= 3 && plant.good("u/50") >= 3).await;
    for round in 1..=3 {
        device.server.command("mode late 50 350");
        plant.until("time-outs", |plant| plant.device("u").errors.timeout >= round).await;
        device.server.command("mode normal");
        let so_far = (plant.good("u/5"), plant.good("u/50"));
        plant
            .until("values again", |plant| {
                plant.good("u/5") >= so_far.0 + 3 && plant.good("u/50") >= so_far.1 + 3
            })
            .await;
    }
    for (name, reading) in &plant.readings {
        let expected = if name == "u/5" { 2_005 } else { 2_050 };
        assert_eq!(reading.value, Value::Unsigned(expected), "{over}: {name}: {reading:?}");
        assert!(matches!(reading.quality, Quality::Good | Quality::Stale), "{over}: {reading:?}");
    }
}

#[tokio::test]
async fn a_late_answer_is_never_another_registers_value_over_tcp() {
    a_late_answer_is_never_another_registers_value("tcp").await;
}

#[tokio::test]
async fn a_late_answer_is_never_another_registers_value_as_rtu_over_tcp() {
    a_late_answer_is_never_another_registers_value("rtu-over-tcp").await;
}

#[tokio::test]
async fn a_late_answer_is_never_another_registers_value_on_a_serial_line() {
    a_late_answer_is_never_another_registers_value("rtu").await;
}
