//! Tests of Selvedge from the outside: real processes, real servers on the loopback interface, real files.
//!
//! Each needs Python with the packages of `tests/requirements.txt`, or mosquitto, or nothing; `tests/run` brings them.
//! Some use `unshare` (util-linux) for an empty network or a small disk without being root.

mod bad_files;
mod bad_folders;
mod bad_world;
mod browse;
mod commands;
mod demo;
mod documents;
mod endurance;
mod first_hour;
mod hostile;
mod join;
mod keys;
mod kill;
mod listen;
mod memdisk;
mod mqtt;
mod network_catch_up;
mod network_faults;
mod network_partition;
mod network_restore;
mod network_show;
mod peers;
mod purity;
mod reload;
mod rotate;
mod scan;
mod show;
mod write;
