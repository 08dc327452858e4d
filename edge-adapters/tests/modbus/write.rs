//! Writing to a pymodbus server, with read-back.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;
use std::time::Duration;

use edge_adapters::SystemClock;
use edge_adapters::write::{Arming, Written};
use selvedge_core::reading::Value;

use crate::plant::{Plant, reached};

const STREAMS: &str = r#"
[[device.stream]]
name = "one"
register = "holding:2"
type = "u16"
[device.stream.write]
min = 0
max = 65535
[[device.stream]]
name = "one/many"
register = "holding:3"
type = "u16"
[device.stream.write]
min = 0
max = 65535
function = "multiple"
[[device.stream]]
name = "float"
register = "holding:4"
type = "f32"
order = "CDAB"
scale = 0.1
[device.stream.write]
min = 0
max = 100
[[device.stream]]
name = "coil"
register = "coil:3"
[device.stream.write]
one_of = [true, false]
[[device.stream]]
name = "coil/many"
register = "coil:1"
[device.stream.write]
one_of = [true, false]
function = "multiple"
"#;

#[tokio::test]
async fn registers_and_coils_are_written_by_all_four_functions_and_read_back() {
    let device = reached("tcp", &[]);
    let folder = tempfile::tempdir().expect("a folder");
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o700)).expect("a mode");
    let arming = Arming::new(folder.path().join("armed.toml"), Arc::new(SystemClock));
    arming.arm(&["machine".to_owned()], Duration::from_mins(10)).expect("armed");
    let text = format!("[[device]]\nname = \"machine\"\n{}{STREAMS}", device.lines);
    let mut plant = Plant::start(&text, Some(arming));
    plant.until("values", |plant| plant.good("one") > 0).await;
    for (stream, value, read_back) in [
        ("one", Value::Int(4_711), Value::Unsigned(4_711)),
        ("one/many", Value::Int(42), Value::Unsigned(42)),
        ("float", Value::Float(7.25), Value::Float(72.5)),
        ("coil", Value::Bool(true), Value::Bool(true)),
        ("coil", Value::Bool(false), Value::Bool(false)),
        ("coil/many", Value::Bool(true), Value::Bool(true)),
    ] {
        let desk = plant.desk();
        let write = desk.write(stream, value, "test");
        tokio::pin!(write);
        let attempt = loop {
            tokio::select! {
                attempt = &mut write => break attempt.unwrap_or_else(|refusal| panic!("{stream}: {refusal:?}")),
                () = plant.take() => {}
            }
        };
        assert_eq!(attempt.written, Written::Confirmed { read_back }, "{stream}");
    }
    let so_far = plant.good("one");
    plant.until("the next poll", |plant| plant.good("one") > so_far + 1).await;
    let last = plant.readings.iter().rev().find(|(name, _)| name == "one").expect("a reading");
    assert_eq!(last.1.value, Value::Unsigned(4_711), "it is there in the next poll too");
}
