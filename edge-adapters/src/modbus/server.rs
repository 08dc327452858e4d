//! A Modbus TCP server over a bank of registers: the machine of the demo, of tests and of benches.
//!
//! It answers the four reading functions for any unit id, and refuses everything else. The caller gives the listener
//! and says when to stop.

use std::future::{Ready, ready};
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::net::TcpListener;
use tokio_modbus::server::Service;
use tokio_modbus::server::tcp::Server;
use tokio_modbus::{ExceptionCode, Request, Response};
use tokio_util::sync::CancellationToken;

use super::{BITS_MAX, REGISTERS_MAX, Table};

/// The registers and bits of a device, shared between the server and whatever changes them.
#[derive(Debug)]
pub struct Bank {
    tables: Mutex<Tables>,
    requests: AtomicU64,
}

#[derive(Debug)]
struct Tables {
    coils: Vec<bool>,
    discretes: Vec<bool>,
    holdings: Vec<u16>,
    inputs: Vec<u16>,
}

impl Bank {
    /// Zeros, with addresses below `size` (at most 65,536) in each table. What lies beyond is refused with exception 2.
    pub fn new(size: usize) -> Self {
        let size = size.min(1 << 16);
        let tables = Tables {
            coils: vec![false; size],
            discretes: vec![false; size],
            holdings: vec![0; size],
            inputs: vec![0; size],
        };
        Self { tables: Mutex::new(tables), requests: AtomicU64::new(0) }
    }

    /// Sets registers in a row, all at once: no answer shows half of them.
    ///
    /// # Panics
    /// When `table` holds bits, or an address lies beyond the bank.
    pub fn set_registers(&self, table: Table, address: u16, words: &[u16]) {
        let mut tables = self.lock();
        let registers = match table {
            Table::Holding => &mut tables.holdings,
            Table::Input => &mut tables.inputs,
            Table::Coil | Table::Discrete => panic!("{} holds bits", table.name()),
        };
        registers[usize::from(address)..][..words.len()].copy_from_slice(words);
    }

    /// Sets a single-precision float in two registers, in the order `ABCD`.
    ///
    /// # Panics
    /// As [`Self::set_registers`].
    pub fn set_f32(&self, table: Table, address: u16, value: f32) {
        let bits = value.to_bits();
        self.set_registers(table, address, &[(bits >> 16) as u16, bits as u16]);
    }

    /// Sets a bit.
    ///
    /// # Panics
    /// When `table` holds registers, or the address lies beyond the bank.
    pub fn set_bit(&self, table: Table, address: u16, bit: bool) {
        let mut tables = self.lock();
        let bits = match table {
            Table::Coil => &mut tables.coils,
            Table::Discrete => &mut tables.discretes,
            Table::Holding | Table::Input => panic!("{} holds registers", table.name()),
        };
        bits[usize::from(address)] = bit;
    }

    /// Requests served so far, refused ones included.
    pub fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    fn answer(&self, request: &Request<'_>) -> Result<Response, ExceptionCode> {
        self.requests.fetch_add(1, Ordering::Relaxed);
        let tables = self.lock();
        match *request {
            Request::ReadCoils(from, count) => {
                cut(&tables.coils, from, count, BITS_MAX).map(Response::ReadCoils)
            }
            Request::ReadDiscreteInputs(from, count) => {
                cut(&tables.discretes, from, count, BITS_MAX).map(Response::ReadDiscreteInputs)
            }
            Request::ReadHoldingRegisters(from, count) => {
                cut(&tables.holdings, from, count, REGISTERS_MAX).map(Response::ReadHoldingRegisters)
            }
            Request::ReadInputRegisters(from, count) => {
                cut(&tables.inputs, from, count, REGISTERS_MAX).map(Response::ReadInputRegisters)
            }
            _ => Err(ExceptionCode::IllegalFunction),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Tables> {
        self.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn cut<T: Copy>(table: &[T], from: u16, count: u16, most: u16) -> Result<Vec<T>, ExceptionCode> {
    if count == 0 || count > most {
        return Err(ExceptionCode::IllegalDataValue);
    }
    let from = usize::from(from);
    table.get(from..from + usize::from(count)).map(<[T]>::to_vec).ok_or(ExceptionCode::IllegalDataAddress)
}

struct BankService(Arc<Bank>);

impl Service for BankService {
    type Request = Request<'static>;
    type Response = Response;
    type Exception = ExceptionCode;
    type Future = Ready<Result<Response, ExceptionCode>>;

    fn call(&self, request: Self::Request) -> Self::Future {
        ready(self.0.answer(&request))
    }
}

/// Serves `bank` to whoever connects to `listener`, until `stop` is cancelled; then closes all connections.
///
/// # Errors
/// When the listener can accept no more.
pub async fn serve(listener: TcpListener, bank: Arc<Bank>, stop: CancellationToken) -> io::Result<()> {
    let on_connected = |stream: tokio::net::TcpStream, _| {
        let accepted = stream.set_nodelay(true).map(|()| Some((BankService(Arc::clone(&bank)), stream)));
        // A client that has gone already is no reason to stop serving.
        ready(Ok(accepted.unwrap_or(None)))
    };
    let on_error = |error: io::Error| tracing::debug!(why = %error, "Modbus client broke its connection");
    Server::new(listener).serve_until(&on_connected, on_error, stop.cancelled_owned()).await.map(drop)
}
