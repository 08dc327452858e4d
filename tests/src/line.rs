//! Modbus lines for long runs: units behind one address, served by tokio-modbus in the test's own process, and a way to an
//! address that can be cut.
//!
//! Each unit answers every request with the next number, so one that is missing at a gateway was lost and one that stands
//! there twice was doubled.

use std::collections::BTreeMap;
use std::future::{Ready, ready};
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::sync::watch;
use tokio_modbus::server::Service;
use tokio_modbus::server::tcp::Server;
use tokio_modbus::{ExceptionCode, Request, Response, SlaveRequest};

/// The number is in holding registers 0 and 1; those up to this one follow it, each so much greater.
const REGISTERS: u16 = 8;

/// The thread that serves all lines and ways of a test. They end with it.
#[derive(Debug)]
pub struct Lines(Runtime);

/// Several units at one address.
#[derive(Debug)]
pub struct Line {
    address: SocketAddr,
    units: Arc<Mutex<BTreeMap<u8, Unit>>>,
}

/// What a unit was asked, and gave.
#[derive(Debug, Clone, Default)]
pub struct Unit {
    /// It takes requests and never answers.
    pub is_silent: bool,
    /// The last number it gave; the first was 1.
    pub given: u32,
    /// When it was asked, if it is silent.
    pub asked: Vec<Instant>,
}

struct Answering(Arc<Mutex<BTreeMap<u8, Unit>>>);

impl Service for Answering {
    type Request = SlaveRequest<'static>;
    type Response = Option<Response>;
    type Exception = ExceptionCode;
    type Future = Ready<Result<Option<Response>, ExceptionCode>>;

    fn call(&self, asked: Self::Request) -> Self::Future {
        ready(answer(&mut lock(&self.0), &asked))
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn answer(
    units: &mut BTreeMap<u8, Unit>,
    asked: &SlaveRequest<'_>,
) -> Result<Option<Response>, ExceptionCode> {
    let unit = units.get_mut(&asked.slave).ok_or(ExceptionCode::GatewayTargetDevice)?;
    if unit.is_silent {
        unit.asked.push(Instant::now());
        return Ok(None);
    }
    let Request::ReadHoldingRegisters(0, count) = asked.request else {
        return Err(ExceptionCode::IllegalFunction);
    };
    if !(2..=REGISTERS).contains(&count) {
        return Err(ExceptionCode::IllegalDataAddress);
    }
    unit.given += 1;
    let number = unit.given;
    let further = (2..count).map(|register| (number as u16).wrapping_add(register));
    let words = [(number >> 16) as u16, number as u16].into_iter().chain(further);
    Ok(Some(Response::ReadHoldingRegisters(words.collect())))
}

impl Default for Lines {
    fn default() -> Self {
        Self::new()
    }
}

impl Lines {
    /// With nothing on it.
    pub fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        Self(runtime.expect("a thread more"))
    }

    /// Units behind one address, the silent ones among them.
    pub fn line(&self, units: &[u8], silent: &[u8]) -> Line {
        let unit = |number: &u8| (*number, Unit { is_silent: silent.contains(number), ..Unit::default() });
        let units: Arc<Mutex<BTreeMap<u8, Unit>>> =
            Arc::new(Mutex::new(units.iter().chain(silent).map(unit).collect()));
        let (listener, address) = self.listen();
        let served = Arc::clone(&units);
        self.0.spawn(async move {
            let on_connected = |stream: TcpStream, _| {
                let accepted =
                    stream.set_nodelay(true).map(|()| Some((Answering(Arc::clone(&served)), stream)));
                ready(Ok::<_, io::Error>(accepted.unwrap_or(None)))
            };
            // A client that breaks its connection is no fault of the line.
            let _ = Server::new(listener).serve(&on_connected, |_| ()).await;
        });
        Line { address, units }
    }

    /// A way to an address that can be cut.
    pub fn wire(&self, to: SocketAddr) -> Wire {
        let (listener, address) = self.listen();
        let (is_cut, cut) = watch::channel(false);
        self.0.spawn(async move {
            while let Ok((mut near, _)) = listener.accept().await {
                let mut cut = cut.clone();
                // While it is cut, whoever comes is turned away.
                if *cut.borrow_and_update() {
                    continue;
                }
                tokio::spawn(async move {
                    let Ok(mut far) = TcpStream::connect(to).await else { return };
                    tokio::select! {
                        _ = tokio::io::copy_bidirectional(&mut near, &mut far) => {}
                        _ = cut.wait_for(|is_cut| *is_cut) => {}
                    }
                });
            }
        });
        Wire { address, is_cut }
    }

    fn listen(&self) -> (TcpListener, SocketAddr) {
        let listener = self.0.block_on(TcpListener::bind("127.0.0.1:0")).expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        (listener, address)
    }
}

impl Line {
    /// Where it is.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// What became of a unit.
    pub fn unit(&self, number: u8) -> Unit {
        lock(&self.units)[&number].clone()
    }
}

/// A way that can be cut.
#[derive(Debug)]
pub struct Wire {
    address: SocketAddr,
    is_cut: watch::Sender<bool>,
}

impl Wire {
    /// Where it begins.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Cuts all connections, and turns away whoever comes.
    pub fn cut(&self) {
        self.is_cut.send_replace(true);
    }

    /// Lets everything through again.
    pub fn heal(&self) {
        self.is_cut.send_replace(false);
    }
}
