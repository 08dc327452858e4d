//! One connection, one question at a time.
//!
//! What is asked here is asked of units that nobody knows, through gateways that nobody knows. So a question that was
//! not answered ends the connection, and after it comes a pause, ever longer while nothing answers: a gateway in front
//! of a serial line may still be waiting for the unit that is not there.

use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};
use tokio_modbus::client::{Client, Context, tcp};
use tokio_modbus::slave::SlaveContext;
use tokio_modbus::{ExceptionCode, Request, Response, Slave};

use super::super::Table;
use super::super::plan::Span;

/// Pause after a question without an answer; twice as long after each further one, up to [`PAUSE_MAX`].
const PAUSE: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(1);
/// So often in a row a connection may fail before the scan gives up.
const CONNECTS: u32 = 3;

/// What became of a question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Heard<T> {
    /// An answer that fits.
    Answer(T),
    /// A Modbus exception.
    Refused(u8),
    /// Nothing in time.
    Silence,
    /// Something that is no answer, or the end of the connection: why.
    Nonsense(String),
}

impl<T> Heard<T> {
    /// Is it a word from the unit itself? A gateway answers 10 and 11 in the place of a unit that does not.
    pub(super) const fn is_from_unit(&self) -> bool {
        match self {
            Self::Answer(_) => true,
            Self::Refused(code) => !matches!(*code, 10 | 11),
            Self::Silence | Self::Nonsense(_) => false,
        }
    }

    fn map<U>(self, answer: impl FnOnce(T) -> Option<U>) -> Heard<U> {
        match self {
            Self::Answer(told) => answer(told)
                .map_or_else(|| Heard::Nonsense("an answer to another question".to_owned()), Heard::Answer),
            Self::Refused(code) => Heard::Refused(code),
            Self::Silence => Heard::Silence,
            Self::Nonsense(why) => Heard::Nonsense(why),
        }
    }
}

/// Nothing listens there any more.
#[derive(Debug)]
pub(super) struct Unreachable(pub(super) String);

pub(super) struct Asker {
    address: String,
    timeout: Duration,
    connection: Option<Context>,
    /// Questions in a row without an answer.
    silent: u32,
    /// Questions so far.
    pub(super) questions: u64,
}

impl Asker {
    pub(super) const fn new(address: String, timeout: Duration) -> Self {
        Self { address, timeout, connection: None, silent: 0, questions: 0 }
    }

    /// Registers of a unit.
    pub(super) async fn registers(&mut self, unit: u8, span: Span) -> Result<Heard<Vec<u16>>, Unreachable> {
        let request = match span.table {
            Table::Input => Request::ReadInputRegisters(span.start, span.count),
            _ => Request::ReadHoldingRegisters(span.start, span.count),
        };
        let heard = self.ask(unit, request).await?;
        Ok(heard.map(|response| match response {
            Response::ReadHoldingRegisters(words) | Response::ReadInputRegisters(words) => {
                (words.len() == usize::from(span.count)).then_some(words)
            }
            _ => None,
        }))
    }

    /// Whether registers or bits can be read.
    pub(super) async fn can_read(&mut self, unit: u8, span: Span) -> Result<Heard<()>, Unreachable> {
        let request = match span.table {
            Table::Coil => Request::ReadCoils(span.start, span.count),
            Table::Discrete => Request::ReadDiscreteInputs(span.start, span.count),
            Table::Holding | Table::Input => {
                return Ok(self.registers(unit, span).await?.map(|_| Some(())));
            }
        };
        let heard = self.ask(unit, request).await?;
        Ok(heard.map(|response| match response {
            Response::ReadCoils(bits) | Response::ReadDiscreteInputs(bits) => {
                (bits.len() == usize::from(span.count).next_multiple_of(8)).then_some(())
            }
            _ => None,
        }))
    }

    /// Any question.
    pub(super) async fn ask(
        &mut self,
        unit: u8,
        request: Request<'static>,
    ) -> Result<Heard<Response>, Unreachable> {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => self.connect().await?,
        };
        connection.set_slave(Slave(unit));
        self.questions += 1;
        // The connection is kept only after an answer: a late one then has nowhere to arrive.
        let heard = match timeout(self.timeout, connection.call(request)).await {
            Err(_) => Heard::Silence,
            Ok(Err(error)) => Heard::Nonsense(short(&error.to_string())),
            Ok(Ok(Err(exception))) => Heard::Refused(ExceptionCode::into(exception)),
            Ok(Ok(Ok(response))) => Heard::Answer(response),
        };
        match &heard {
            Heard::Answer(_) | Heard::Refused(_) => {
                self.connection = Some(connection);
                self.silent = 0;
            }
            Heard::Silence | Heard::Nonsense(_) => {
                drop(connection);
                sleep(pause(self.silent)).await;
                self.silent = self.silent.saturating_add(1);
            }
        }
        Ok(heard)
    }

    async fn connect(&mut self) -> Result<Context, Unreachable> {
        let mut attempt = 1;
        loop {
            let why = match timeout(self.timeout, TcpStream::connect(&self.address)).await {
                Ok(Ok(stream)) => match stream.set_nodelay(true) {
                    Ok(()) => return Ok(tcp::attach(stream)),
                    Err(error) => error.to_string(),
                },
                Ok(Err(error)) => error.to_string(),
                Err(_) => format!("no connection within {:?}", self.timeout),
            };
            if attempt == CONNECTS {
                return Err(Unreachable(why));
            }
            sleep(pause(attempt)).await;
            attempt += 1;
        }
    }
}

fn pause(silent: u32) -> Duration {
    PAUSE.saturating_mul(1 << silent.min(8)).min(PAUSE_MAX)
}

/// An error of the library repeats the whole answer, which can be hundreds of registers.
fn short(text: &str) -> String {
    text.chars().take(160).collect()
}
