//! Cures taken out on purpose: what users of such gateways complain of most, one fault at a time, to show that the tests
//! find each of them. `cargo run --profile ci -p edge-adapters --features planted --example complaints`.
//!
//! This file is compiled with the feature `planted` only, which nothing that is shipped switches on. One build holds all
//! of the faults; the variable [`VARIABLE`] says by number which one is alive, so that a test that knows nothing of them
//! runs with the cure and without it. In the source each is `planted!(NameOfTheFault)`, which without the feature is the
//! word `false`.

use std::sync::OnceLock;

/// Stands in every program that holds planted faults, and in no other: what is shipped is searched for it.
pub const MARKER: &str = "selvedge: adapters of this program have faults that were planted on purpose";

/// The number of the fault that is alive; 0 or nothing: none.
pub const VARIABLE: &str = "SELVEDGE_PLANTED";

/// A planted fault, for people.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Planted {
    /// The fault.
    pub fault: Fault,
    /// Its name, as in the source.
    pub name: &'static str,
    /// The complaint that it stands for: its place in [`COMPLAINTS`], from 1.
    pub complaint: usize,
    /// Which cure is taken out.
    pub what: &'static str,
    /// Tests that must fail with it: each is the end of a name.
    pub tests: &'static [&'static str],
}

impl Planted {
    /// Its number, from 1.
    pub const fn number(&self) -> u32 {
        self.fault as u32
    }
}

/// What users complain of, the most frequent first.
pub const COMPLAINTS: [&str; 7] = [
    "no recovery after the server restarts",
    "one dead device stops the others",
    "an old value under a new time",
    "after a time-out each answer belongs to the question before",
    "buffers that fill, or are lost",
    "surprises of MQTT's sessions",
    "the start fails because a device is off",
];

/// The list, once: the enum, its documentation and the table.
macro_rules! faults {
    ($($number:literal $name:ident $complaint:literal $what:literal [$($test:literal),* $(,)?])*) => {
        /// All planted faults.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Fault {
            $(#[doc = $what] $name = $number,)*
        }

        /// All planted faults, by number.
        pub const ALL: &[Planted] = &[
            $(Planted {
                fault: Fault::$name,
                name: stringify!($name),
                complaint: $complaint,
                what: $what,
                tests: &[$($test),*],
            },)*
        ];
    };
}

faults! {
    1 GivesUp 1
        "After the second failure in a row nothing is tried any more. (async-opcua's own session gives up after ten.)"
        [
            "backoff::tests::a_device_that_is_off_for_years_is_still_tried",
            "tests::poll_bad_devices::a_device_that_accepts_and_never_answers_is_asked_ever_more_rarely",
            "sessions::a_killed_broker_comes_back",
            "recovery::values_go_on_after_asyncua_restarts_and_the_gap_is_marked",
        ]
    3 LeavesItsSession 1
        "OPC-UA: after a connection that broke the session is not taken up again: what the server kept for it is lost."
        ["recovery::nothing_is_lost_when_the_connection_is_cut_and_the_session_is_still_there"]
    4 TrustsItsItems 1
        "OPC-UA: a node that is silent is not looked at: one that was taken away and came back is never heard of again."
        ["items::a_node_that_disappears_from_asyncua_is_bad_and_comes_back"]
    5 TrustsTheSocket 1
        "MQTT: a broker need not answer pings: a connection that is dead and was never closed stands for ever."
        ["bad_broker::a_connection_without_answers_to_pings_is_dead_and_its_streams_are_stale"]
    6 DeadUnitsAreTriedAtOnce 2
        "Modbus: a unit that does not answer is tried whenever its own back-off says so, whoever shares its line."
        [
            "modbus::turns::tests::an_attempt_waits_for_the_rest_then_for_room_then_no_longer",
            "tests::lines::dead_units_take_no_more_than_a_tenth_of_the_line_and_stay_out_of_the_way",
        ]
    7 PanicEndsTheDevice 2
        "An adapter that fails is not started again."
        ["tests::supervisor::an_adapter_that_panics_is_started_again_alone_and_it_is_said"]
    8 StaleUnderANewTime 3
        "When a link dies, the last value is repeated under the time of now."
        [
            "tests::outlet::a_dead_link_gives_each_stream_one_reading_under_its_old_time",
            "tests::poll::when_the_server_restarts_each_stream_is_stale_once_and_then_read_again",
        ]
    9 DeadLinkSaysNothing 3
        "When a link dies, its streams go on showing their last value as a good one."
        [
            "tests::poll::when_the_server_restarts_each_stream_is_stale_once_and_then_read_again",
            "tests::mqtt_session::a_dead_link_makes_streams_stale_once_and_is_tried_again",
            "recovery::values_go_on_after_node_opcua_restarts_and_the_gap_is_marked",
        ]
    10 TakesLateAnswers 4
        "Modbus RTU: after a time-out the next question is asked at once, and takes the late answer for its own."
        [
            "tests::lines::on_rtu_a_late_answer_is_listened_to_until_silence_and_belongs_to_nobody",
        ]
    11 DoesNotListenFirst 4
        "Modbus RTU: a line is asked as soon as it is open: an answer to whoever asked before is taken for this one's."
        ["tests::lines::on_rtu_a_line_is_listened_to_before_it_is_first_asked"]
    12 KeepsFailedConnections 4
        "Modbus TCP: a connection stays after a time-out or an answer to something else."
        [
            "tests::poll_bad_devices::after_a_late_answer_of_an_honest_device_the_next_values_are_right_at_once",
        ]
    13 AcknowledgesEarly 5
        "MQTT: a message is acknowledged when it is handed to the node, and not when it is durable."
        [
            "tests::outlet::a_source_that_acknowledges_waits_until_its_readings_are_durable",
            "tests::mqtt_session::a_message_is_acknowledged_when_it_is_durable_and_not_before",
        ]
    14 PollsForNothing 5
        "Modbus: a device is read although the node has no room for what it says."
        ["tests::poll::with_a_full_queue_polls_are_skipped_and_counted"]
    15 TakesWithoutEnd 5
        "MQTT: messages are taken however many wait to be durable."
        ["tests::mqtt_session::without_room_nothing_more_is_taken_and_nothing_is_lost"]
    16 DropsWithoutRoom 5
        "OPC-UA: values are taken from the server although the node has no room, and dropped."
        ["recovery::the_server_keeps_its_queue_while_the_node_has_no_room"]
    17 NeverSubscribesAgain 6
        "MQTT: after a connection that broke nothing is subscribed to: a broker that lost the session says nothing more."
        [
            "tests::mqtt_session::after_a_lost_session_what_comes_again_is_flagged_and_subscribed_to_anew",
            "sessions::a_broker_that_loses_the_session_is_subscribed_to_again_and_it_shows",
        ]
    18 BelievesTheSession 6
        "MQTT: a session that the broker says it kept is not subscribed to, whatever this start wants of it."
        ["bad_broker::a_session_that_is_said_to_be_kept_is_subscribed_to_all_the_same"]
    19 RecordsAllThatComes 6
        "MQTT: a message that comes again is recorded again."
        ["tests::mqtt_session::a_message_that_comes_again_is_recorded_once"]
    20 DropsAllThatComesAgain 6
        "MQTT: what is flagged as sent before is taken for recorded, and dropped."
        [
            "tests::mqtt_session::after_a_lost_session_what_comes_again_is_flagged_and_subscribed_to_anew",
            "tests::mqtt_session::what_the_node_does_not_take_is_not_acknowledged_and_comes_again_with_a_flag",
        ]
    21 WantsTheDeviceAtTheStart 7
        "A device that cannot be reached at the start is not tried again."
        ["tests::poll::a_device_that_is_off_at_the_start_stops_nothing_and_is_read_when_it_comes"]
    22 LosesItsTurn 1
        "Modbus: a write to a dead unit that shares its line lets it wait for its turn anew: it is not found again."
        ["tests::modbus_write::a_write_to_a_dead_unit_keeps_its_turn"]
}

/// Is it this fault that is alive?
pub(crate) fn is(fault: Fault) -> bool {
    static ALIVE: OnceLock<u32> = OnceLock::new();
    let alive = ALIVE.get_or_init(|| {
        let Ok(number) = std::env::var(VARIABLE) else { return 0 };
        let number = number.parse().unwrap_or_else(|_| panic!("{VARIABLE} is {number:?}, expected a number"));
        // The program says what it is, and so holds the marker.
        eprintln!("{MARKER}: number {number} is alive");
        number
    });
    *alive == fault as u32
}
