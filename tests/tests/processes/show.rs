//! A stranger verifies: one file, the network's id, an empty folder, no network, another user, no settings.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::PathBuf;
use std::process::Command;

use selvedge_tests::device::Device;
use selvedge_tests::process::{Done, Process, Signal};
use selvedge_tests::program;
use selvedge_tests::site::Site;
use tempfile::TempDir;

const STREAM: &str = "tank/temperature";

/// An empty folder with a copy of the program beside it, both open to everybody.
struct Stranger {
    above: TempDir,
    program: PathBuf,
    folder: PathBuf,
}

impl Stranger {
    fn new() -> Self {
        let above = tempfile::tempdir().expect("a folder for tests");
        let (program, folder) = (above.path().join("selvedge"), above.path().join("empty"));
        fs::copy(program::path(), &program).expect("the program can be copied");
        fs::create_dir(&folder).expect("a new folder");
        for path in [above.path(), &program, &folder] {
            fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("it is ours");
        }
        Self { above, program, folder }
    }

    /// Gives the stranger a file.
    fn take(&self, bytes: &[u8]) {
        let path = self.folder.join("it.proof");
        fs::write(&path, bytes).expect("it can be written");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).expect("it is ours");
        let names: Vec<_> = fs::read_dir(&self.folder).expect("a folder").collect();
        assert_eq!(names.len(), 1, "the folder holds the proof and nothing else");
    }

    /// Runs `selvedge verify it.proof` as the stranger.
    fn verify(&self, arguments: &[&str]) -> Done {
        let mut command = if is_root() {
            // Really another user, before anything else.
            let mut command = Command::new("setpriv");
            command.args(["--reuid=65534", "--regid=65534", "--clear-groups", "unshare"]);
            command
        } else {
            Command::new("unshare")
        };
        command
            .args(["--user", "--map-current-user", "--net"])
            .arg(&self.program)
            .args(["verify", "it.proof"]);
        command
            .args(arguments)
            .current_dir(&self.folder)
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
        Process::start(&mut command).done()
    }
}

fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|about| about.uid() == 0)
}

/// A gateway that reads a pymodbus server, and the proof of one of its readings.
fn proof() -> (Site, Vec<u8>) {
    let (site, device) = (Site::new(), Device::start());
    site.configure(&device.config("50ms", "2s"));
    let node = site.run();
    let file = site.beside("it.proof");
    site.prove(STREAM, &file);
    node.end_with(Signal::TERM).expect(0);
    let bytes = fs::read(file).expect("it was written");
    (site, bytes)
}

#[test]
fn show2_a_stranger_verifies_a_reading_of_a_modbus_server_offline() {
    let (site, bytes) = proof();
    let stranger = Stranger::new();
    stranger.take(&bytes);

    let verified = stranger.verify(&["--network", site.network()]).expect(0);
    println!("{}", verified.out);
    // 614 x 0.1 - 40, exactly.
    let verified =
        verified.says(&["21.4", "°C", STREAM, "\"g1\"", "\"Acme\"", "\"works\"", site.network(), "Verified"]);
    assert!(
        verified.out.contains("not") && verified.out.lines().count() > 6,
        "it says what it does not show"
    );
    assert_eq!(verified.err, "");
    assert_eq!(
        fs::read_dir(&stranger.folder).expect("a folder").count(),
        1,
        "verifying leaves nothing behind"
    );
    assert_eq!(fs::read_dir(stranger.above.path()).expect("a folder").count(), 2);

    let json = stranger.verify(&["--network", site.network(), "--json"]).expect(0).json();
    assert!(json.to_string().contains(site.network()), "{json}");

    let other = Site::new();
    stranger.verify(&["--network", other.network()]).expect(1).says(&[
        "Refused",
        other.network(),
        site.network(),
    ]);
    stranger.verify(&[]).expect(3).says(&["nobody said which network to trust", site.network()]);
    stranger.verify(&["--network", "svnet1nonsense"]).expect(2).says(&["--network"]);
}

#[test]
fn show2_a_changed_proof_is_refused_wherever_it_was_changed() {
    let (site, bytes) = proof();
    let stranger = Stranger::new();
    // Each byte in turn is flipped by a test of the proof itself; here some of them, as a stranger meets them.
    for place in 0..24 {
        let mut changed = bytes.clone();
        let at = place * (bytes.len() - 1) / 23;
        changed[at] ^= 1 << (place % 8);
        stranger.take(&changed);
        stranger.verify(&["--network", site.network()]).expect(1).says(&["Refused"]);
    }
    for length in [0, 1, 9, bytes.len() / 2, bytes.len() - 1] {
        stranger.take(&bytes[..length]);
        stranger.verify(&["--network", site.network()]).expect(1).says(&["Refused"]);
    }
    stranger.take(&[&bytes[..], b"\0"].concat());
    stranger.verify(&["--network", site.network()]).expect(1).says(&["Refused"]);
    stranger.take(&bytes);
    stranger.verify(&["--network", site.network()]).expect(0);
}

#[test]
fn show2_a_network_with_the_same_names_is_another_network() {
    let (site, bytes) = proof();
    let (forged, forged_bytes) = proof();
    assert_ne!(site.network(), forged.network());
    let stranger = Stranger::new();
    stranger.take(&forged_bytes);
    stranger.verify(&["--network", site.network()]).expect(1).says(&["Refused", "names prove nothing"]);
    stranger.take(&bytes);
    stranger.verify(&["--network", site.network()]).expect(0);
    // A genesis is as good as its id.
    let file = stranger.folder.join("it.proof");
    let verify = |trusted: &Site| {
        let genesis = trusted.file("genesis.bin");
        let arguments: [&OsStr; 4] =
            ["verify".as_ref(), file.as_ref(), "--genesis".as_ref(), genesis.as_ref()];
        program::ask(arguments)
    };
    verify(&site).expect(0);
    verify(&forged).expect(1).says(&["Refused"]);
}
