//! The estimator in virtual time: [`links`] over a bottleneck, [`inputs`] packet by packet, lies among them.

mod inputs;
mod links;
mod world;
