//! A mosquitto with a folder of its own, and the certificates for it.

use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::support::process::Signal;
use crate::support::{Output, Server, eventually, free_port, program};

/// The port of a test's broker may be taken by another program before the broker takes it; then there is another one.
const PORTS_TRIED: usize = 20;

/// A mosquitto, or one that is off. Ended when dropped.
pub(crate) struct Broker {
    pub(crate) folder: TempDir,
    pub(crate) port: u16,
    more: String,
    running: Option<Server>,
}

impl Broker {
    /// One that lets everybody in.
    pub(crate) fn start() -> Self {
        Self::with("allow_anonymous true\n")
    }

    /// One with these lines in its configuration; `FOLDER` in them is its folder.
    pub(crate) fn with(more: &str) -> Self {
        Self::with_files(more, |_| ())
    }

    /// The same, after `make` has put into the folder what the lines name.
    pub(crate) fn with_files(more: &str, make: impl FnOnce(&Path)) -> Self {
        let folder = tempfile::tempdir().expect("a folder for the broker");
        make(folder.path());
        let mut broker = Self { folder, port: free_port(), more: more.to_owned(), running: None };
        for _ in 0..PORTS_TRIED {
            if broker.try_on() {
                return broker;
            }
            broker.port = free_port();
        }
        panic!("no free port for mosquitto in {PORTS_TRIED} attempts");
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn try_on(&mut self) -> bool {
        let folder = self.folder.path().to_str().expect("UTF-8");
        // As root it changes to a user that may not write into the test's folder.
        let user = if rustix_is_root() { "user root\n" } else { "" };
        let more = self.more.replace("FOLDER", folder);
        let config = format!(
            "{user}per_listener_settings false\nlistener {} 127.0.0.1\npersistence true\npersistence_location {folder}/\n\
             set_tcp_nodelay true\nlog_dest stderr\nlog_type all\n{more}",
            self.port
        );
        let file = self.path("mosquitto.conf");
        std::fs::write(&file, config).expect("the broker's folder can be written");
        let server = Server::start(Command::new(program("mosquitto")).arg("-c").arg(&file));
        let is_on = eventually("mosquitto", || {
            let lines = server.lines(Output::Err);
            if lines.iter().any(|line| line.contains("mosquitto version") && line.contains("running")) {
                return Ok(true);
            }
            if lines.iter().any(|line| line.contains("Address already in use")) {
                return Ok(false);
            }
            assert!(!lines.iter().any(|line| line.contains("Error")), "{}", server.shown());
            Err("it starts")
        });
        self.running = is_on.then_some(server);
        is_on
    }

    /// Kills it, as a pulled plug would.
    pub(crate) fn off(&mut self) {
        self.running.take().expect("it is on").kill();
    }

    /// Ends it in order: it writes down what it keeps.
    pub(crate) fn end(&mut self) {
        self.running.take().expect("it is on").end_with(Signal::TERM).expect(0);
    }

    pub(crate) fn on(&mut self) {
        assert!(self.try_on(), "mosquitto does not start again on port {}", self.port);
    }

    /// Forgets all sessions and messages, while it is off.
    pub(crate) fn forget(&self) {
        assert!(self.running.is_none(), "it must be off");
        std::fs::remove_file(self.path("mosquitto.db")).expect("it has kept something");
    }

    /// Publishes, and waits until the broker has it.
    pub(crate) fn publish(&self, topic: &str, qos: u8, payload: &str, arguments: &[&str]) {
        let mut command = Command::new(program("mosquitto_pub"));
        command.args(["-h", "127.0.0.1", "-p", &self.port.to_string(), "-t", topic, "-m", payload]);
        command.args(["-q", &qos.to_string()]).args(arguments);
        let done = command.output().expect("mosquitto_pub runs");
        assert!(done.status.success(), "mosquitto_pub: {}", String::from_utf8_lossy(&done.stderr));
    }

    /// The lines of its log.
    pub(crate) fn log(&self) -> Vec<String> {
        self.running.as_ref().expect("it is on").lines(Output::Err)
    }
}

fn rustix_is_root() -> bool {
    // The owner of what this process makes.
    use std::os::unix::fs::MetadataExt as _;
    std::fs::metadata("/proc/self").expect("Linux").uid() == 0
}

/// Makes certificates with the `openssl` command into a folder: `ca.pem`, and of it the server's `server.pem` for
/// 127.0.0.1, `named.pem` for another name, `expired.pem`, and the client's `client.pem`; `other-ca.pem` and of it
/// `stranger.pem`. Keys end in `.key`.
pub(crate) fn certificates(folder: &Path) {
    for ca in ["ca", "other-ca"] {
        let (key, pem) = (format!("{ca}.key"), format!("{ca}.pem"));
        let subject = format!("/CN={ca} of a test");
        openssl(
            folder,
            &[
                "req",
                "-x509",
                "-newkey",
                "ec",
                "-pkeyopt",
                "ec_paramgen_curve:P-256",
                "-nodes",
                "-keyout",
                &key,
                "-out",
                &pem,
                "-days",
                "2",
                "-subj",
                &subject,
                "-addext",
                "basicConstraints=critical,CA:TRUE",
            ],
        );
    }
    for (name, ca, alternative) in [
        ("server", "ca", "IP:127.0.0.1"),
        ("named", "ca", "DNS:broker.plant.example"),
        ("client", "ca", "DNS:gateway"),
        ("stranger", "other-ca", "DNS:gateway"),
    ] {
        issue(folder, name, ca, alternative, &["-days", "2"]);
    }
    // `openssl x509` cannot say when a certificate begins; `openssl ca` can.
    std::fs::write(folder.join("index.txt"), "").expect("a file");
    std::fs::write(folder.join("serial"), "1000\n").expect("a file");
    let config = "[ca]\ndefault_ca = it\n[it]\ndatabase = index.txt\nserial = serial\nnew_certs_dir = .\ndefault_md = sha256\n\
                  policy = any\ncopy_extensions = none\n[any]\ncommonName = supplied\n";
    std::fs::write(folder.join("ca.cnf"), config).expect("a file");
    request(folder, "expired", "IP:127.0.0.1");
    openssl(
        folder,
        &[
            "ca",
            "-batch",
            "-notext",
            "-config",
            "ca.cnf",
            "-cert",
            "ca.pem",
            "-keyfile",
            "ca.key",
            "-in",
            "expired.csr",
            "-out",
            "expired.pem",
            "-startdate",
            "20200101000000Z",
            "-enddate",
            "20200201000000Z",
            "-extfile",
            "expired.ext",
        ],
    );
}

fn request(folder: &Path, name: &str, alternative: &str) {
    let (key, csr, subject) = (format!("{name}.key"), format!("{name}.csr"), format!("/CN={name}"));
    openssl(
        folder,
        &[
            "req",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
            "-keyout",
            &key,
            "-out",
            &csr,
            "-subj",
            &subject,
        ],
    );
    std::fs::write(folder.join(format!("{name}.ext")), format!("subjectAltName={alternative}\n"))
        .expect("a file");
}

fn issue(folder: &Path, name: &str, ca: &str, alternative: &str, days: &[&str]) {
    request(folder, name, alternative);
    let (csr, ext, pem) = (format!("{name}.csr"), format!("{name}.ext"), format!("{name}.pem"));
    let (ca, ca_key) = (format!("{ca}.pem"), format!("{ca}.key"));
    let mut arguments = vec![
        "x509",
        "-req",
        "-in",
        &csr,
        "-CA",
        &ca,
        "-CAkey",
        &ca_key,
        "-CAcreateserial",
        "-extfile",
        &ext,
        "-out",
        &pem,
    ];
    arguments.extend(days);
    openssl(folder, &arguments);
}

fn openssl(folder: &Path, arguments: &[&str]) {
    let done =
        Command::new(program("openssl")).args(arguments).current_dir(folder).output().expect("openssl runs");
    assert!(done.status.success(), "openssl {arguments:?}: {}", String::from_utf8_lossy(&done.stderr));
}
