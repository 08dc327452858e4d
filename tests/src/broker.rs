//! An MQTT broker: a real mosquitto in a process of its own, and a way to it that can be cut at any packet.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tempfile::TempDir;

use crate::process::{Output, Process, Signal};

/// The port of a test's broker may be taken by another program before the broker takes it; then there is another one.
const PORTS_TRIED: usize = 20;

/// A mosquitto with a folder for what it keeps. Ended when dropped.
#[derive(Debug)]
pub struct Broker {
    folder: TempDir,
    port: u16,
    /// Messages of a client that are sent and not acknowledged; 0: no limit.
    in_flight_max: u16,
    process: Option<Process>,
}

/// A program of the package `mosquitto` or `mosquitto-clients`.
fn program(name: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let places = std::env::split_paths(&path).chain(["/usr/sbin".into(), "/usr/local/sbin".into()]);
    places.map(|place| place.join(name)).find(|path| path.is_file()).unwrap_or_else(|| {
        panic!(
            "{name} is missing: this test needs a real broker. `tests/run` installs it, or \
             `apt-get install mosquitto mosquitto-clients`"
        )
    })
}

impl Broker {
    /// Starts one.
    pub fn start() -> Self {
        Self::off().on()
    }

    /// One that waits for no acknowledgement before it sends more.
    pub fn start_unlimited() -> Self {
        Self { in_flight_max: 0, ..Self::off() }.on()
    }

    fn on(self) -> Self {
        let mut broker = self;
        for _ in 0..PORTS_TRIED {
            if broker.try_switch_on() {
                return broker;
            }
            broker.port = free_port();
        }
        panic!("no free port for mosquitto in {PORTS_TRIED} attempts");
    }

    /// One that is not running, with its port.
    pub fn off() -> Self {
        Self {
            folder: tempfile::tempdir().expect("a folder for the broker"),
            port: free_port(),
            in_flight_max: 20,
            process: None,
        }
    }

    /// Its port on 127.0.0.1, the same after a restart.
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// Starts it again, with what it has kept.
    pub fn switch_on(&mut self) {
        assert!(self.try_switch_on(), "mosquitto does not start on port {}", self.port);
    }

    /// Ends it in order: it writes down what it keeps.
    pub fn switch_off(&mut self) {
        if let Some(process) = self.process.take() {
            process.end_with(Signal::TERM).expect(0);
        }
    }

    /// Forgets all sessions and messages, while it is off.
    pub fn forget(&mut self) {
        assert!(self.process.is_none(), "it must be off");
        std::fs::remove_file(self.folder.path().join("mosquitto.db")).expect("it has kept something");
    }

    /// All that it wrote to its log since it was switched on: each packet has a line.
    pub fn log(&self) -> Vec<String> {
        self.process.as_ref().expect("it is on").lines(Output::Err)
    }

    /// Waits for a line of its log that holds this text.
    pub fn says(&self, what: &str) {
        self.process.as_ref().expect("it is on").line(Output::Err, what, |line| line.contains(what));
    }

    /// A publisher on one topic with this quality of service.
    pub fn publisher(&self, topic: &str, qos: u8) -> Publisher {
        Publisher(Process::start(&mut self.publish_command(topic, qos, &["-l"])))
    }

    /// Publishes one message, which the broker keeps for later subscribers if it is `retained`.
    pub fn publish(&self, topic: &str, qos: u8, retained: bool, payload: &str) {
        let mut arguments = vec!["-m", payload];
        if retained {
            arguments.push("-r");
        }
        Process::start(&mut self.publish_command(topic, qos, &arguments)).done().expect(0);
    }

    fn publish_command(&self, topic: &str, qos: u8, arguments: &[&str]) -> Command {
        let mut command = Command::new(program("mosquitto_pub"));
        command.args(["-h", "127.0.0.1", "-t", topic]).args(arguments);
        command.args(["-p", &self.port.to_string(), "-q", &qos.to_string()]);
        command
    }

    fn try_switch_on(&mut self) -> bool {
        let config = self.folder.path().join("mosquitto.conf");
        std::fs::write(&config, self.config()).expect("the broker's folder can be written");
        let mut process = Process::start(Command::new(program("mosquitto")).arg("-c").arg(&config));
        let is_running = |line: &str| line.contains("running") && line.contains("mosquitto version");
        let started = crate::eventually("mosquitto", || {
            if process.lines(Output::Err).iter().any(|line| is_running(line)) {
                return Ok(true);
            }
            if process.has_ended() { Ok(false) } else { Err("it starts") }
        });
        if started {
            self.process = Some(process);
        }
        started
    }

    fn config(&self) -> String {
        let folder = folder_text(self.folder.path());
        let mut config = format!(
            "listener {} 127.0.0.1\nallow_anonymous true\npersistence true\npersistence_location {folder}/\n\
             max_queued_messages 0\nmax_inflight_messages {}\nset_tcp_nodelay true\nlog_dest stderr\nlog_type all\n",
            self.port, self.in_flight_max
        );
        if rustix::process::geteuid().is_root() {
            // Else it changes to a user that may not write into the test's folder.
            config.push_str("user root\n");
        }
        config
    }
}

fn folder_text(folder: &Path) -> &str {
    folder.to_str().expect("a folder for tests has a name of UTF-8")
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("it is bound").port()
}

/// A `mosquitto_pub` that publishes line by line.
#[derive(Debug)]
pub struct Publisher(Process);

impl Publisher {
    /// One message.
    pub fn say(&mut self, payload: &str) {
        self.0.say(payload);
    }

    /// Waits until the broker has all of them.
    pub fn finish(self) {
        self.0.done().expect(0);
    }
}

/// Kinds of packets (MQTT 3.1.1, section 2.2.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Packet {
    /// A message.
    Publish = 3,
    /// Ends quality of service 1.
    PubAck = 4,
    /// The first answer of quality of service 2.
    PubRec = 5,
    /// Its second part.
    PubRel = 6,
    /// Its end.
    PubComp = 7,
}

/// A way to a broker. It ends with its guard.
#[derive(Debug)]
pub struct Way {
    port: u16,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    to: u16,
    /// Packets of this kind, and all after them in their direction, stay behind; 0: none.
    stop_at: AtomicU8,
    stopped: AtomicU64,
    /// Packets until everything is cut; 0: never.
    cut_in: AtomicU64,
    is_over: AtomicBool,
    open: Mutex<Vec<TcpStream>>,
}

impl Way {
    /// To the broker on this port of 127.0.0.1.
    pub fn to(port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let own = listener.local_addr().expect("it is bound").port();
        let shared = Arc::new(Shared {
            to: port,
            stop_at: AtomicU8::new(0),
            stopped: AtomicU64::new(0),
            cut_in: AtomicU64::new(0),
            is_over: AtomicBool::new(false),
            open: Mutex::default(),
        });
        let accepting = Arc::clone(&shared);
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                if accepting.is_over.load(Ordering::SeqCst) {
                    return;
                }
                // A broker that is off refuses, and the client sees its connection closed.
                if let Ok(broker) = TcpStream::connect(("127.0.0.1", accepting.to)) {
                    accepting.join(client, broker);
                }
            }
        });
        Self { port: own, shared }
    }

    /// Its port on 127.0.0.1.
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// From now on packets of this kind, and all after them in their direction, stay behind.
    pub fn stop_at(&self, packet: Packet) {
        self.shared.stopped.store(0, Ordering::SeqCst);
        self.shared.stop_at.store(packet as u8, Ordering::SeqCst);
    }

    /// Waits until such a packet stayed behind.
    pub fn has_stopped(&self) {
        crate::eventually("a packet that stays behind", || {
            if self.shared.stopped.load(Ordering::SeqCst) > 0 { Ok(()) } else { Err("none came") }
        });
    }

    /// Cuts all connections, and lets everything through on the next.
    pub fn cut(&self) {
        self.shared.stop_at.store(0, Ordering::SeqCst);
        self.shared.cut();
    }

    /// Cuts all connections after so many further packets, of either direction.
    pub fn cut_in(&self, packets: u64) {
        self.shared.cut_in.store(packets, Ordering::SeqCst);
    }
}

impl Drop for Way {
    fn drop(&mut self) {
        self.shared.is_over.store(true, Ordering::SeqCst);
        self.shared.cut();
        // The accepting thread looks once more, and ends.
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}

impl Shared {
    fn cut(&self) {
        for stream in self.open.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
            // The other end may have closed it.
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    fn join(self: &Arc<Self>, client: TcpStream, broker: TcpStream) {
        let copy = |stream: &TcpStream| stream.try_clone().expect("a handle more");
        for stream in [&client, &broker] {
            stream.set_nodelay(true).expect("an open connection");
            self.open.lock().unwrap_or_else(PoisonError::into_inner).push(copy(stream));
        }
        for (from, to) in [(copy(&client), copy(&broker)), (broker, client)] {
            let shared = Arc::clone(self);
            std::thread::spawn(move || shared.carry(from, to));
        }
    }

    fn carry(&self, mut from: TcpStream, mut to: TcpStream) {
        while let Some(packet) = packet(&mut from) {
            if packet[0] >> 4 == self.stop_at.load(Ordering::SeqCst) {
                self.stopped.fetch_add(1, Ordering::SeqCst);
                return;
            }
            let countdown = |left: u64| left.checked_sub(1);
            if self.cut_in.fetch_update(Ordering::SeqCst, Ordering::SeqCst, countdown) == Ok(1) {
                self.cut();
                return;
            }
            if to.write_all(&packet).is_err() {
                break;
            }
        }
        // Both ends learn it.
        let _ = to.shutdown(Shutdown::Both);
        let _ = from.shutdown(Shutdown::Both);
    }
}

/// A whole packet; `None` at the end of the connection.
fn packet(from: &mut TcpStream) -> Option<Vec<u8>> {
    let mut bytes = vec![0; 1];
    from.read_exact(&mut bytes).ok()?;
    let (mut length, mut shift) = (0_usize, 0);
    loop {
        let mut digit = [0];
        from.read_exact(&mut digit).ok()?;
        bytes.push(digit[0]);
        length |= usize::from(digit[0] & 0x7F) << shift;
        shift += 7;
        if digit[0] & 0x80 == 0 {
            break;
        }
    }
    let body = bytes.len();
    bytes.resize(body + length, 0);
    from.read_exact(&mut bytes[body..]).ok()?;
    Some(bytes)
}
