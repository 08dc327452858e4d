//! What is asked of a unit, and whether what comes back is an answer to it. Pure.

use std::borrow::Cow;
use std::io;

use tokio_modbus::{Error, Request, Response};

use super::Table;
use super::plan::Span;
use crate::adapter::{Fault, FaultKind};

/// Bytes of an RTU frame besides function and data: unit and check sum.
const FRAME_BYTES: u64 = 1 + 2;
/// The shortest RTU frame is an exception: function and code.
pub(crate) const SHORTEST_FRAME_BYTES: u64 = FRAME_BYTES + 2;

/// A question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Ask {
    /// What lies there? Functions 1 to 4.
    Read(Span),
    /// Set one coil, by function 5.
    Coil(u16, bool),
    /// Set coils in a row, by function 15.
    Coils(u16, Vec<bool>),
    /// Set one holding register, by function 6.
    Register(u16, u16),
    /// Set holding registers in a row, all at once, by function 16.
    Registers(u16, Vec<u16>),
}

/// What a device answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Answer {
    /// As many as asked for.
    Registers(Vec<u16>),
    /// As many as asked for.
    Bits(Vec<bool>),
    /// It did what it was asked.
    Written,
    /// A Modbus exception.
    Refused(u8),
}

impl Ask {
    pub(crate) fn request(&self) -> Request<'_> {
        match self {
            Self::Read(Span { table: Table::Coil, start, count }) => Request::ReadCoils(*start, *count),
            Self::Read(Span { table: Table::Discrete, start, count }) => {
                Request::ReadDiscreteInputs(*start, *count)
            }
            Self::Read(Span { table: Table::Holding, start, count }) => {
                Request::ReadHoldingRegisters(*start, *count)
            }
            Self::Read(Span { table: Table::Input, start, count }) => {
                Request::ReadInputRegisters(*start, *count)
            }
            Self::Coil(at, bit) => Request::WriteSingleCoil(*at, *bit),
            Self::Coils(at, bits) => Request::WriteMultipleCoils(*at, Cow::Borrowed(bits)),
            Self::Register(at, word) => Request::WriteSingleRegister(*at, *word),
            Self::Registers(at, words) => Request::WriteMultipleRegisters(*at, Cow::Borrowed(words)),
        }
    }

    /// Bytes of the request in an RTU frame.
    pub(crate) fn rtu_bytes(&self) -> u64 {
        FRAME_BYTES
            + match self {
                Self::Read(_) | Self::Coil(..) | Self::Register(..) => 5,
                Self::Coils(_, bits) => 6 + bits.len().div_ceil(8) as u64,
                Self::Registers(_, words) => 6 + 2 * words.len() as u64,
            }
    }

    /// Bytes of a right answer in an RTU frame.
    pub(crate) const fn rtu_answer_bytes(&self) -> u64 {
        FRAME_BYTES
            + match self {
                Self::Read(span) => 2 + span.data_bytes(),
                _ => 5,
            }
    }

    /// The answer, if it fits. The library compares header and function, not what follows.
    ///
    /// # Errors
    /// A protocol fault that says what came and what was asked.
    pub(crate) fn fitting(&self, response: Response) -> Result<Answer, Fault> {
        let got = match (self, response) {
            (Self::Read(span), response) => return fitting_read(*span, response),
            (Self::Coil(at, bit), Response::WriteSingleCoil(got_at, got)) if (*at, *bit) == (got_at, got) => {
                return Ok(Answer::Written);
            }
            (Self::Register(at, word), Response::WriteSingleRegister(got_at, got))
                if (*at, *word) == (got_at, got) =>
            {
                return Ok(Answer::Written);
            }
            (Self::Coils(at, bits), Response::WriteMultipleCoils(got_at, got))
                if *at == got_at && bits.len() == usize::from(got) =>
            {
                return Ok(Answer::Written);
            }
            (Self::Registers(at, words), Response::WriteMultipleRegisters(got_at, got))
                if *at == got_at && words.len() == usize::from(got) =>
            {
                return Ok(Answer::Written);
            }
            (_, response) => response,
        };
        Err(Fault::new(FaultKind::Protocol, format!("got {got:?} as the answer to {self:?}")))
    }

    /// Did more come than an answer to this, by a whole frame or more? Then an answer to another question was among
    /// it. A byte or two more is noise: a line picks it up while its direction is switched.
    pub(crate) const fn is_more_than_answered(&self, received: u64, refused: bool) -> bool {
        let answer = if refused { SHORTEST_FRAME_BYTES } else { self.rtu_answer_bytes() };
        received >= answer + SHORTEST_FRAME_BYTES
    }
}

fn fitting_read(span: Span, response: Response) -> Result<Answer, Fault> {
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

/// Of the first question on a new connection over TLS. A device that does not let this gateway in may close so soon that its
/// reason is lost, and only the closing arrives.
pub(crate) fn after_handshake(error: &Error) -> Fault {
    let fault = match error {
        // Without so much as the farewell of TLS.
        Error::Transport(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
            Fault::new(FaultKind::Closed, "the device closed the connection")
        }
        _ => transport_fault(error),
    };
    if fault.kind != FaultKind::Closed || fault.detail.starts_with("TLS: ") {
        return fault;
    }
    let detail = format!(
        "{}, right after the TLS handshake: perhaps it does not trust this gateway's certificate, or wants one \
         (certificate_file and key_file)",
        fault.detail
    );
    Fault { detail, ..fault }
}

pub(crate) fn transport_fault(error: &Error) -> Fault {
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
        // The other side of TLS said why it closes: in TLS 1.3 it does so after the handshake only.
        #[cfg(feature = "modbus-tls")]
        Error::Transport(error) if let Some(why) = crate::tls::explain(error) => {
            Fault::new(FaultKind::Closed, why)
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
