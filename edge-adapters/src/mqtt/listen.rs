//! Hears what a broker sends, and hands it to whoever works.

use tokio::sync::mpsc;

use super::client::{Heard, Listen};
use crate::adapter::{Fault, FaultKind};

/// Listens until the connection ends, and says why. While there is no room for what it hears it reads nothing, and the
/// broker waits; but what is to be said goes out all the same. (Without this a burst of quality 1 stood still for ever:
/// the window was full of acknowledgements that waited for it, and it waited for the window.)
pub(super) async fn listen(mut listener: Box<dyn Listen>, heard_in: mpsc::Sender<Heard>) -> Fault {
    loop {
        let room = if let Ok(room) = heard_in.try_reserve() {
            Ok(room)
        } else {
            tokio::select! {
                biased;
                room = heard_in.reserve() => room,
                fault = listener.tend() => return fault,
            }
        };
        let Ok(room) = room else {
            return Fault::new(FaultKind::Adapter, "nobody works any more");
        };
        // A burst lies here whole: waiting for each of its messages apart would cost more than working on it.
        let next = match listener.heard() {
            Ok(Some(heard)) => Ok(heard),
            Ok(None) => listener.next().await,
            Err(fault) => Err(fault),
        };
        match next {
            Ok(next) => room.send(next),
            Err(fault) => return fault,
        }
    }
}
