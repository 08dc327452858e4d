//! The attacks. Each goes on until it did what it counts or its time is over, and comes back whenever it is let in.

mod flood;
mod garbage;
mod handshakes;
mod ledger;
mod lies;
mod slow;

use super::attack::{Attack, Field};

/// Carries out one.
pub(super) async fn run(attack: Attack, field: &mut Field) {
    match attack {
        Attack::GarbageStreams => garbage::streams(field).await,
        Attack::GarbageFrames => garbage::frames(field).await,
        Attack::Oversize => garbage::oversize(field).await,
        Attack::FloodAnnouncements => flood::announcements(field).await,
        Attack::FloodSignatures => flood::signatures(field).await,
        Attack::FloodSmall => flood::small(field).await,
        Attack::FloodRequests => flood::requests(field).await,
        Attack::FloodTransactions => flood::transactions(field).await,
        Attack::Replay => flood::replay(field).await,
        Attack::SlowReading => slow::reading(field).await,
        Attack::SlowWriting => slow::writing(field).await,
        Attack::HalfOpen => handshakes::half_open(field).await,
        Attack::WrongHandshakes => handshakes::wrong(field).await,
        Attack::Strangers => handshakes::strangers(field).await,
        Attack::ManyConnections => handshakes::many(field).await,
        Attack::WrongNetwork => lies::network(field).await,
        Attack::NoVersion => lies::version(field).await,
        Attack::NoHello => lies::no_hello(field).await,
        Attack::FrontierLies => lies::frontier(field).await,
        Attack::GreatSequences => lies::great_sequences(field).await,
        Attack::EmptyAnswers => lies::empty_answers(field).await,
        Attack::OwnHeadLies => lies::own_head(field).await,
        Attack::AddressLies => lies::addresses(field).await,
        Attack::WithheldParents => ledger::withheld_parents(field).await,
        Attack::ReferencesToNothing => ledger::references_to_nothing(field).await,
        Attack::GarbageSignatureFirst => ledger::garbage_first(field).await,
        Attack::Fork => ledger::fork(field).await,
        Attack::ManyBodies => ledger::many_bodies(field).await,
        Attack::NonCanonical => ledger::not_canonical(field).await,
    }
}
