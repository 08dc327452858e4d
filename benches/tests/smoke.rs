//! The benches work: each does a little, checks what it did, and gives all of its parts.

use std::process::Command;

#[test]
fn every_bench_does_its_work_at_a_tiny_size() {
    let output = Command::new(env!("CARGO_BIN_EXE_selvedge-benches"))
        .args(["headline", "--smoke", "--json"])
        .output()
        .expect("the program starts");
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{err}\n{out}");
    let last: serde_json::Value =
        serde_json::from_str(out.lines().last().expect("a last line")).expect("JSON");
    let figures = last["figures"].as_array().expect("figures");
    let parts: Vec<(u64, &str)> =
        figures.iter().map(|f| (f["figure"].as_u64().unwrap(), f["part"].as_str().unwrap())).collect();
    let expected = [
        (1, "1000"),
        (1, "4096"),
        (1, "adapter"),
        (2, "received, stored, attached, forwarded"),
        (3, "vs bulk"),
        (3, "vs rs_merkle"),
        (5, "bytes"),
        (6, "make"),
        (6, "verify"),
        (6, "bytes"),
        (7, "a node that joins: catch-up"),
        (8, "memory of one more idle connection"),
        (10, "idle: CPU"),
        (10, "idle: sent on a connection in an hour"),
        (10, "idle: written in an hour"),
        (12, "tangle: uniform tips"),
        (12, "tangle: weighted walk"),
        (12, "network: an attachment"),
        (12, "network: an item of 512 B"),
        (14, "journal p50"),
        (14, "journal p99"),
        (14, "transaction p50"),
        (14, "transaction p99"),
        (15, "one Modbus connection: f32"),
        (15, "one Modbus connection: u16"),
        (16, "MQTT, window 256"),
        (16, "MQTT, window 20"),
        (17, "OPC-UA notifications"),
        (18, "memory: 10,000 readings/s, 50 devices"),
    ];
    assert_eq!(parts, expected, "{err}");
    for figure in figures {
        assert_eq!(figure.as_object().unwrap().len(), 8, "{figure}");
        let [measured, reference, ratio] = ["measured", "reference", "ratio"].map(|key| figure[key].as_f64());
        let (Some(measured), Some(reference), Some(ratio)) = (measured, reference, ratio) else {
            panic!("not all numbers: {figure}");
        };
        // In a few idle seconds nothing at all may be said, or written.
        assert!(measured > 0.0 || figure["figure"] == 10, "{figure}");
        assert!((ratio - measured / reference).abs() <= 1e-9 * ratio, "{figure}");
        assert!(
            figure["met"].is_null() && figure["goal"].is_string() && figure["unit"].is_string(),
            "{figure}"
        );
    }
}

#[test]
fn a_figure_that_is_not_there_is_named() {
    let output = Command::new(env!("CARGO_BIN_EXE_selvedge-benches"))
        .args(["headline", "--only", "4"])
        .output()
        .expect("the program starts");
    assert_eq!(output.status.code(), Some(2));
    assert!(
        String::from_utf8_lossy(&output.stderr).contains("expected 1, 2, 3, 5, 6, 7, 8, 10, 12 or 14 to 18")
    );
}
