//! Hears what a broker sends, and hands it to whoever works.

use std::collections::VecDeque;
use std::sync::Arc;

use tokio::sync::mpsc;

use super::client::{Heard, Listen, Unsaid};
use crate::adapter::{Fault, FaultKind};

/// What was heard beyond that, while acknowledgements waited to be said. A broker that sends more without waiting for
/// them is cut off; what was not acknowledged comes again.
const SPILLED_MAX: usize = 4_096;

/// Listens until the connection ends, and says why. Acknowledgements go out only while it listens: so while some wait it
/// goes on, also when there is no room for what it hears. (Without this a burst of quality 1 stood still for ever: the
/// window was full of acknowledgements that waited for it, and it waited for the window.)
pub(super) async fn listen(
    mut listener: Box<dyn Listen>,
    heard_in: mpsc::Sender<Heard>,
    unsaid: Arc<Unsaid>,
) -> Fault {
    let mut spilled = VecDeque::new();
    loop {
        // One future until it is done: to drop it half way could lose a packet.
        let mut hearing = std::pin::pin!(listener.next());
        let next = loop {
            tokio::select! {
                biased;
                room = heard_in.reserve(), if !spilled.is_empty() => {
                    let Ok(room) = room else {
                        return Fault::new(FaultKind::Adapter, "nobody works any more");
                    };
                    if let Some(first) = spilled.pop_front() {
                        room.send(first);
                    }
                }
                next = &mut hearing, if spilled.is_empty() || unsaid.count() > 0 => break next,
                () = unsaid.more(), if !spilled.is_empty() && unsaid.count() == 0 => {}
            }
        };
        match next {
            Ok(next) => spilled.push_back(next),
            Err(fault) => {
                // What was heard before the end is taken: of quality 0 it would not come again.
                for next in spilled {
                    if heard_in.send(next).await.is_err() {
                        break;
                    }
                }
                return fault;
            }
        }
        if spilled.len() > SPILLED_MAX {
            let why = format!("the broker sent {SPILLED_MAX} messages without waiting for acknowledgements");
            return Fault::new(FaultKind::Protocol, why);
        }
    }
}
