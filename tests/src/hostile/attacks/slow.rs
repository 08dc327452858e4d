//! Connections that take their time.

use std::time::Duration;

use selvedge_core::hash::Hash;
use selvedge_core::limits::{FRAME_BYTES_MAX, REFERENCES_PER_ASK_MAX};
use selvedge_core::wire::{Digest, Fetch, Message, Want};

use crate::hostile::attack::{Field, whole};
use crate::hostile::link::FRESH;

/// A byte comes this often.
const SLOWLY: Duration = Duration::from_millis(200);

/// Asks for everything, again and again, and reads nothing of it.
pub(super) async fn reading(field: &mut Field) {
    let honest = field.identity().members("g");
    let mut asked = 0;
    while field.goes_on() && asked < field.orders.count {
        let to = field.target();
        let Some(mut link) = field.knock_as(to, 0, false).await else { continue };
        let hello = field.hello();
        let mut open = link.say(&Message::Hello(hello)).await.is_ok();
        while open && field.goes_on() && asked < field.orders.count {
            asked += 1;
            let ranges = honest.iter().map(|issuer| whole(*issuer)).collect();
            let fetch = Message::Fetch(Fetch { ranges, transactions_max: u32::MAX });
            let references = (0..REFERENCES_PER_ASK_MAX).map(|_| field.maker.nothing()).collect();
            let want = Message::Want(Want { graft: true, references });
            let digest = Message::Digest(Digest { frontier: Hash(field.maker.bytes32()) });
            for message in [fetch, want, digest] {
                open = open && link.say(&message).await.is_ok();
            }
            // Its own pace: fast enough that answers pile up, slow enough to be answered at all.
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        field.stay(&link).await;
    }
    field.tally.say("asked", asked);
}

/// Frames of the greatest length, of which a byte comes now and then: on many connections it would be much memory.
pub(super) async fn writing(field: &mut Field) {
    let to = field.target();
    let Some(mut link) = field.force(to).await else { return };
    let head = (FRAME_BYTES_MAX as u32).to_le_bytes();
    let mut open = link.raw(FRESH, &head).await.is_ok();
    while open && field.goes_on() {
        open = link.raw(FRESH, &[0x55]).await.is_ok();
        tokio::time::sleep(SLOWLY).await;
    }
    field.leave(&link);
}
