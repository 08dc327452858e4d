//! The four ways to a device, and how each is opened.

use std::io;
#[cfg(feature = "modbus-tls")]
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpStream;

use super::plan::Framing;
use super::port::Stream;
#[cfg(feature = "modbus-serial")]
use super::timing::Characters;
#[cfg(feature = "modbus-tls")]
use crate::tls::Tls;

/// A way to devices: what the units on it share.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Transport {
    /// Modbus TCP: host and port.
    Tcp {
        /// Host and port.
        address: String,
    },
    /// RTU frames over TCP, as simple device servers speak: host and port.
    RtuOverTcp {
        /// Host and port.
        address: String,
    },
    /// RTU on a serial port of this machine.
    #[cfg(feature = "modbus-serial")]
    Serial {
        /// The device file: `/dev/ttyUSB0`, `/dev/serial/by-id/…`.
        path: String,
        /// How characters travel.
        characters: Characters,
    },
    /// Modbus/TCP Security: Modbus TCP in TLS.
    #[cfg(feature = "modbus-tls")]
    Tls {
        /// Host and port.
        address: String,
        /// Certificates and names.
        tls: Arc<Tls>,
    },
}

impl Transport {
    /// As the configuration names it.
    pub const fn protocol(&self) -> &'static str {
        match self {
            Self::Tcp { .. } => "modbus-tcp",
            Self::RtuOverTcp { .. } => "modbus-rtu-over-tcp",
            #[cfg(feature = "modbus-serial")]
            Self::Serial { .. } => "modbus-rtu",
            #[cfg(feature = "modbus-tls")]
            Self::Tls { .. } => "modbus-tls",
        }
    }

    /// Host and port, or device file.
    pub fn address(&self) -> &str {
        match self {
            Self::Tcp { address } | Self::RtuOverTcp { address } => address,
            #[cfg(feature = "modbus-serial")]
            Self::Serial { path, .. } => path,
            #[cfg(feature = "modbus-tls")]
            Self::Tls { address, .. } => address,
        }
    }

    /// Where a unit is, for people: `10.0.0.7:502 unit 1`, `/dev/ttyUSB0 19200 8E1 unit 1`.
    pub fn place(&self, unit_id: u8) -> String {
        match self {
            #[cfg(feature = "modbus-serial")]
            Self::Serial { path, characters } => format!("{path} {characters} unit {unit_id}"),
            _ => format!("{} unit {unit_id}", self.address()),
        }
    }

    /// The one thing behind all names for it: two devices that name it in two ways are on one line. A link such as
    /// those in `/dev/serial/by-id` is the port that it points to.
    pub fn line(&self) -> String {
        match self {
            #[cfg(feature = "modbus-serial")]
            Self::Serial { path, .. } => {
                let real = std::fs::canonicalize(path).map(|real| real.to_string_lossy().into_owned());
                format!("serial line {}", real.as_ref().unwrap_or(path))
            }
            _ => format!("{} {}", self.protocol(), self.address().to_ascii_lowercase()),
        }
    }

    /// What all devices on the line must agree in, in words; empty where there is nothing to agree in.
    pub fn terms(&self) -> String {
        match self {
            Self::Tcp { .. } | Self::RtuOverTcp { .. } => String::new(),
            #[cfg(feature = "modbus-serial")]
            Self::Serial { characters, .. } => characters.to_string(),
            #[cfg(feature = "modbus-tls")]
            Self::Tls { tls, .. } => super::tls::terms(tls),
        }
    }

    /// What frames requests.
    pub const fn framing(&self) -> Framing {
        match self {
            Self::Tcp { .. } => Framing::Tcp,
            Self::RtuOverTcp { .. } => Framing::Rtu,
            #[cfg(feature = "modbus-serial")]
            Self::Serial { .. } => Framing::Rtu,
            #[cfg(feature = "modbus-tls")]
            Self::Tls { .. } => Framing::Tls,
        }
    }

    /// The silence between two frames.
    pub(crate) fn frame_gap(&self) -> Duration {
        match self {
            #[cfg(feature = "modbus-serial")]
            Self::Serial { characters, .. } => characters.frame_gap(),
            // A device server keeps the gap on its line by itself.
            _ => Duration::ZERO,
        }
    }

    /// How long so many bytes are on their way, where that is worth counting.
    pub(crate) fn take(&self, bytes: u64) -> Duration {
        match self {
            #[cfg(feature = "modbus-serial")]
            Self::Serial { characters, .. } => characters.take(u32::try_from(bytes).unwrap_or(u32::MAX)),
            _ => {
                let _ = bytes;
                Duration::ZERO
            }
        }
    }

    /// Opens it. The caller sees to the time that it may take.
    pub(crate) async fn open(&self) -> io::Result<Box<dyn Stream>> {
        match self {
            Self::Tcp { address } | Self::RtuOverTcp { address } => Ok(Box::new(connect(address).await?)),
            #[cfg(feature = "modbus-serial")]
            Self::Serial { path, characters } => super::serial::open(path, *characters),
            #[cfg(feature = "modbus-tls")]
            Self::Tls { address, tls } => super::tls::connect(tls, address, connect(address).await?).await,
        }
    }
}

async fn connect(address: &str) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(address).await?;
    // Requests are smaller than a segment; without this they may wait for the acknowledgement of the one before.
    stream.set_nodelay(true)?;
    Ok(stream)
}
