//! Machines in network namespaces on one switch, with cables that can be cut: real packets, no root.
//!
//! A test runs itself again in namespaces of a user of its own ([`inside`]), where it may make networks; all of it is
//! gone with its last process.

use std::ffi::OsStr;
use std::fs;
use std::process::Command;

use crate::process::{Output, Process};
use crate::program;

/// Says to a test that it runs within.
const WITHIN_NAMESPACE: &str = "SELVEDGE_TEST_NETNS";
/// A test within may take this long beyond what it says: the bound of [`Process::done`] is a minute.
const OVER: &str = "the test within is over";

/// Runs this test, by its whole name, again in namespaces of its own, and passes on what it printed. `true`: this is the
/// run within, so do the work.
pub fn inside(test: &str) -> bool {
    if std::env::var_os(WITHIN_NAMESPACE).is_some() {
        return true;
    }
    let mut command = Command::new("unshare");
    command.args([
        "--user",
        "--map-root-user",
        "--net",
        "--mount",
        "--pid",
        "--fork",
        "--kill-child",
        "--mount-proc",
    ]);
    command.arg(std::env::current_exe().expect("the system knows what it runs"));
    command.args(["--exact", test, "--nocapture"]).env(WITHIN_NAMESPACE, "1");
    let process = Process::start(&mut command);
    process.line_within(crate::WITHIN * 20, Output::Err, OVER, |line| line.contains(OVER));
    let done = process.done();
    print!("{}", done.out);
    let done = done.expect(0);
    assert!(done.out.contains("1 passed"), "no test is called {test:?}: {done}");
    false
}

/// Tells the run without that this one ends, whether it passed or failed.
#[derive(Debug, Default)]
pub struct Over;

impl Drop for Over {
    fn drop(&mut self) {
        eprintln!("{OVER}");
    }
}

/// A switch, and machines with the addresses 10.9.0.1, 10.9.0.2, … in the order in which they were plugged in.
#[derive(Debug)]
pub struct Switch {
    machines: Vec<String>,
}

impl Switch {
    /// Without machines.
    pub fn new() -> Self {
        // Where `ip netns` keeps its names; nobody outside sees this one.
        sh("mount -t tmpfs none /run && mkdir -p /run/netns");
        sh("ip link set lo up && ip link add switch type bridge && ip link set switch up");
        Self { machines: Vec::new() }
    }

    /// Plugs a machine in.
    pub fn plug(&mut self, name: &str) {
        self.machines.push(name.to_owned());
        let number = self.machines.len();
        sh(&format!("ip netns add {name} && ip -n {name} link set lo up"));
        sh(&format!("ip link add {name} type veth peer name eth0 netns {name}"));
        sh(&format!("ip link set {name} master switch && ip link set {name} up"));
        sh(&format!("ip -n {name} addr add 10.9.0.{number}/24 dev eth0 && ip -n {name} link set eth0 up"));
    }

    /// Runs the program that the further arguments of this command name on a machine.
    pub fn on(&self, machine: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net=/run/netns/{machine}")).arg("--");
        command
    }

    /// The same, for a whole command.
    pub fn run_on(&self, machine: &str, inner: &Command) -> Command {
        let mut command = self.on(machine);
        command.arg(inner.get_program()).args(inner.get_args());
        for (name, value) in inner.get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        command
    }

    /// Cuts a machine's cable, or mends it.
    pub fn cable(&self, machine: &str, is_up: bool) {
        sh(&format!("ip link set {machine} {}", if is_up { "up" } else { "down" }));
    }

    /// Bytes that went through a machine's cable, both ways, with all headers.
    pub fn bytes(&self, machine: &str) -> u64 {
        let all = fs::read_to_string("/proc/net/dev").expect("Linux has it");
        let line = all.lines().find_map(|line| line.trim().strip_prefix(&format!("{machine}:")));
        let fields: Vec<u64> = line
            .unwrap_or_else(|| panic!("no cable {machine} in {all}"))
            .split_whitespace()
            .map(|field| field.parse().expect("a number"))
            .collect();
        fields[0] + fields[8]
    }
}

impl Default for Switch {
    fn default() -> Self {
        Self::new()
    }
}

fn sh(script: &str) {
    let done =
        program::run("sh", &[OsStr::new("-c"), OsStr::new(&format!("PATH=$PATH:/usr/sbin:/sbin; {script}"))]);
    assert!(
        done.status.success(),
        "cannot make a network for the test ({script}). It needs user namespaces (tests/run says how) and `ip` of the \
         package iproute2: {done}"
    );
}
