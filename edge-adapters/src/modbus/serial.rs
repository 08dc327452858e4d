//! A serial port of this machine (feature `modbus-serial`).
//!
//! The direction of an RS-485 line is switched by the converter or by the kernel's driver, never from here: a program
//! that switches RTS itself is too late by a time slice now and then.

use std::io;

use tokio_serial::{DataBits, FlowControl, SerialPortBuilderExt as _, StopBits};

use super::port::Stream;
use super::timing::{Characters, Parity};

/// Opens it for this program alone (`TIOCEXCL` and `flock`): a second master on the line would answer for nobody.
pub(crate) fn open(path: &str, characters: Characters) -> io::Result<Box<dyn Stream>> {
    let parity = match characters.parity {
        Parity::None => tokio_serial::Parity::None,
        Parity::Even => tokio_serial::Parity::Even,
        Parity::Odd => tokio_serial::Parity::Odd,
    };
    let data_bits = if characters.data_bits == 7 { DataBits::Seven } else { DataBits::Eight };
    let stop_bits = if characters.stop_bits == 2 { StopBits::Two } else { StopBits::One };
    let builder = tokio_serial::new(path, characters.baud)
        .data_bits(data_bits)
        .parity(parity)
        .stop_bits(stop_bits)
        .flow_control(FlowControl::None)
        .exclusive(true);
    Ok(Box::new(builder.open_native_async().map_err(io::Error::from)?))
}
