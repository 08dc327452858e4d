//! Browsing OPC-UA servers of other make: asyncua and node-opcua in processes of their own.

#[path = "support/mod.rs"]
mod support;

#[path = "opcua_browse/chosen.rs"]
mod chosen;
#[path = "opcua_browse/tree.rs"]
mod tree;
