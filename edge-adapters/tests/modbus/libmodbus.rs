//! Against libmodbus, the library that most devices of other make are tested with.

use std::process::Command;

use serde_json::Value;

use crate::plant::SerialLine;
use crate::support::{Server, program, server};
use crate::values::all_values_are_read;

/// Builds the server into this folder, and starts it.
fn started(folder: &tempfile::TempDir, arguments: &[&str]) -> (Server, Value) {
    let built = folder.path().join("libmodbus");
    let mut compiler = Command::new(program("cc"));
    compiler.args(["-O1", "-Wall", "-Werror", "-I/usr/include/modbus", "-o"]).arg(&built);
    let done = compiler.arg(server("libmodbus.c")).args(["-lmodbus", "-lpthread"]).output().expect("cc runs");
    assert!(
        done.status.success(),
        "libmodbus is missing, or its server does not build: `tests/run` installs it, or `apt-get install \
         libmodbus-dev`\n{}",
        String::from_utf8_lossy(&done.stderr)
    );
    Server::ready(Command::new(built).args(arguments))
}

#[tokio::test]
async fn a_libmodbus_server_is_read_over_tcp() {
    let folder = tempfile::tempdir().expect("a folder");
    let (_server, said) = started(&folder, &["tcp"]);
    let lines = format!("protocol = \"modbus-tcp\"\naddress = \"127.0.0.1:{}\"", said["port"]);
    all_values_are_read(&lines, &said).await;
}

#[tokio::test]
async fn a_libmodbus_server_is_read_on_a_serial_line() {
    let (folder, line) = (tempfile::tempdir().expect("a folder"), SerialLine::new());
    let (_server, said) = started(&folder, &["rtu", &line.end("device")]);
    let lines =
        format!("protocol = \"modbus-rtu\"\naddress = \"{}\"\nparity = \"none\"", line.end("gateway"));
    all_values_are_read(&lines, &said).await;
}
