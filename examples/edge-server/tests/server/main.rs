//! The edge server as its users meet it: started as a process, talked to over TCP.

mod demo;
mod flags;
mod support;
mod wire;
