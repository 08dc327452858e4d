//! Writing one value and reading it back. Only requests that a [`Desk`](crate::write::Desk) has let pass come here.

use selvedge_core::reading::Quality;

use super::ask::{Answer, Ask};
use super::encode;
use super::line::Seat;
use super::poll::decode;
use super::{Field, Modbus};
use crate::adapter::Context;
use crate::status_code;
use crate::write::{WriteRequest, Written};

impl Modbus {
    /// Does what is asked, and says what became of it.
    pub(crate) async fn carry_out(&self, request: WriteRequest, seat: &Seat, context: &Context) {
        let written = match self.fields.get(request.stream) {
            Some(field) => write(field, &request, seat, context).await,
            None => refused(status_code::ADAPTER, format!("no stream {}", request.stream)),
        };
        request.done(written);
    }
}

async fn write(field: &Field, request: &WriteRequest, seat: &Seat, context: &Context) -> Written {
    let ask = match encode::ask(field, &request.value) {
        Ok(ask) => ask,
        Err(why) => return refused(status_code::UNDECODABLE, why),
    };
    // It may have to wait for other units of the line, and for the line itself.
    let may = || request.is_armed() && !context.stop.is_cancelled();
    match seat.ask_if(&ask, &context.health, &may).await {
        Ok(None) => {
            let why = if context.stop.is_cancelled() {
                "the device was stopped, or its configuration changed, while it waited"
            } else {
                "the gateway was disarmed, or whoever asked gave up, while it waited"
            };
            return refused(status_code::NOT_ARMED, why.to_owned());
        }
        Ok(Some(Answer::Refused(code))) => return refused(code.into(), status_code::words(code.into())),
        Ok(_) => {}
        // The request may have arrived, and only its answer not.
        Err(fault) => {
            context.health.failed(fault.kind);
            return Written::NotConfirmed { read_back: None, why: fault.to_string() };
        }
    }
    let span = field.span();
    let answer = match seat.ask(&Ask::Read(span), &context.health).await {
        Ok(answer) => answer,
        Err(fault) => {
            context.health.failed(fault.kind);
            return Written::NotConfirmed {
                read_back: None,
                why: format!("written, not read back: {fault}"),
            };
        }
    };
    let found = decode(field, span, span, &answer);
    if found.quality != Quality::Good {
        let why =
            format!("written, read back as {}: {}", found.quality.name(), status_code::words(found.status));
        return Written::NotConfirmed { read_back: None, why };
    }
    // Compared as it lies in the registers: a single-precision float holds another double than was asked for.
    if encode::ask(field, &found.value).as_ref() == Ok(&ask) {
        Written::Confirmed { read_back: found.value }
    } else {
        let why = "the device took it and holds another value".to_owned();
        Written::NotConfirmed { read_back: Some(found.value), why }
    }
}

const fn refused(status: u32, why: String) -> Written {
    Written::Refused { status, why }
}
