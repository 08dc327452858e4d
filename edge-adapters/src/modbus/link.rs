//! One TCP connection to a device.
//!
//! After anything but a complete and fitting answer the connection is closed and never used again: a late answer then
//! has nowhere to arrive. The transaction id of Modbus TCP does not replace this. Gateways in front of serial lines
//! exist that put the id of the newest request on whatever comes from the line, and with an honest server every
//! answer after a late one would be late by one, for ever.

use std::io;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};
use tokio_modbus::client::{Client, Context, tcp};
use tokio_modbus::{Error, Request, Response, Slave};

use super::Table;
use super::plan::Span;
use crate::adapter::{Fault, FaultKind};
use crate::health::Health;

/// What a device answered.
#[derive(Debug)]
pub(crate) enum Answer {
    /// As many as asked for.
    Registers(Vec<u16>),
    /// As many as asked for.
    Bits(Vec<bool>),
    /// A Modbus exception.
    Refused(u8),
}

pub(crate) struct Link {
    address: String,
    unit_id: u8,
    timeout: Duration,
    connection: Option<Context>,
}

impl Link {
    pub(crate) const fn new(address: String, unit_id: u8, timeout: Duration) -> Self {
        Self { address, unit_id, timeout, connection: None }
    }

    /// Closes the connection, if there is one.
    pub(crate) fn close(&mut self) {
        self.connection = None;
    }

    /// Reads `span`, over a new connection if there is none. After an error there is none.
    pub(crate) async fn read(&mut self, span: Span, health: &Health) -> Result<Answer, Fault> {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => self.connect(health).await?,
        };
        // Until it is put back at the end, the connection belongs to this call. So whatever ends the call early closes
        // it: a fault, a time-out, and also a caller that drops it halfway.
        health.requested();
        let sent = Instant::now();
        let outcome = timeout(self.timeout, connection.call(request(span))).await;
        let answer = match outcome {
            Err(_) => {
                return Err(Fault::new(FaultKind::Timeout, format!("no answer within {:?}", self.timeout)));
            }
            Ok(Err(error)) => return Err(transport_fault(&error)),
            Ok(Ok(Err(exception))) => Answer::Refused(exception.into()),
            Ok(Ok(Ok(response))) => fitting(span, response)?,
        };
        health.answered(sent.elapsed());
        self.connection = Some(connection);
        Ok(answer)
    }

    async fn connect(&mut self, health: &Health) -> Result<Context, Fault> {
        let fault = |detail| Fault::new(FaultKind::Unreachable, detail);
        let stream = match timeout(self.timeout, TcpStream::connect(&self.address)).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return Err(fault(format!("{}: {error}", self.address))),
            Err(_) => {
                return Err(fault(format!("{}: no connection within {:?}", self.address, self.timeout)));
            }
        };
        // Requests are smaller than a segment; without this they may wait for the acknowledgement of the one before.
        stream.set_nodelay(true).map_err(|error| fault(error.to_string()))?;
        health.connected();
        Ok(tcp::attach_slave(stream, Slave(self.unit_id)))
    }
}

const fn request(span: Span) -> Request<'static> {
    match span.table {
        Table::Coil => Request::ReadCoils(span.start, span.count),
        Table::Discrete => Request::ReadDiscreteInputs(span.start, span.count),
        Table::Holding => Request::ReadHoldingRegisters(span.start, span.count),
        Table::Input => Request::ReadInputRegisters(span.start, span.count),
    }
}

/// The answer, if it holds what was asked for. The library compares header and function, not the length.
fn fitting(span: Span, response: Response) -> Result<Answer, Fault> {
    let wanted = usize::from(span.count);
    let got = match (span.table, response) {
        (Table::Holding, Response::ReadHoldingRegisters(words))
        | (Table::Input, Response::ReadInputRegisters(words)) => {
            if words.len() == wanted {
                return Ok(Answer::Registers(words));
            }
            format!("{} registers", words.len())
        }
        (Table::Coil, Response::ReadCoils(mut bits))
        | (Table::Discrete, Response::ReadDiscreteInputs(mut bits)) => {
            // Bits come in whole bytes.
            if bits.len() == wanted.next_multiple_of(8) {
                bits.truncate(wanted);
                return Ok(Answer::Bits(bits));
            }
            format!("{} bits", bits.len())
        }
        _ => "an answer of another kind".to_owned(),
    };
    Err(Fault::new(FaultKind::Protocol, format!("got {got}, asked for {wanted} from {}", span.table.name())))
}

fn transport_fault(error: &Error) -> Fault {
    use io::ErrorKind::{
        BrokenPipe, ConnectionAborted, ConnectionReset, InvalidData, InvalidInput, NotConnected, TimedOut,
        UnexpectedEof,
    };
    match error {
        Error::Protocol(error) => {
            let text = error.to_string();
            // The message repeats the whole answer, which can be hundreds of registers.
            let short = text.char_indices().nth(160).map_or(text.as_str(), |(end, _)| &text[..end]);
            Fault::new(FaultKind::Protocol, short)
        }
        Error::Transport(error) => match error.kind() {
            // The library's decoder: a body that is longer or shorter than it says ends up as one of these.
            InvalidData | InvalidInput | UnexpectedEof => Fault::new(FaultKind::Protocol, error.to_string()),
            BrokenPipe | ConnectionAborted | ConnectionReset | NotConnected | TimedOut => {
                Fault::new(FaultKind::Closed, error.to_string())
            }
            // At the end of the stream the library reports whatever error number happens to be set.
            _ => Fault::new(FaultKind::Closed, "the device closed the connection"),
        },
    }
}
