//! The one conversion from Rust's errors to the exception tree of `rtpcore.errors`.

use pyo3::prelude::*;
use rtpcore_net::{SendError, StartError};

/// What can go wrong at this border.
pub(crate) enum Error {
    /// A worker could not be started.
    Start(StartError),
    /// A command was not taken.
    Send(SendError),
    /// The object was closed, or never opened.
    Closed(&'static str),
    /// Parameters that no peer could mean: what is wrong, in words.
    Parameters(String),
    /// A setting that cannot be used: its name, and why.
    Config(&'static str, String),
    /// Python itself raised.
    Python(PyErr),
}

impl From<StartError> for Error {
    fn from(error: StartError) -> Self {
        Self::Start(error)
    }
}

impl From<SendError> for Error {
    fn from(error: SendError) -> Self {
        Self::Send(error)
    }
}

impl From<PyErr> for Error {
    fn from(error: PyErr) -> Self {
        Self::Python(error)
    }
}

impl From<Error> for PyErr {
    fn from(error: Error) -> Self {
        Python::attach(|py| match to_exception(py, error) {
            Ok(error) | Err(error) => error,
        })
    }
}

fn to_exception(py: Python<'_>, error: Error) -> PyResult<PyErr> {
    let errors = py.import("rtpcore.errors")?;
    let raise = |name: &str, message: String| -> PyResult<PyErr> {
        Ok(PyErr::from_value(errors.getattr(name)?.call1((message,))?))
    };
    match error {
        Error::Python(error) => Ok(error),
        Error::Parameters(message) => raise("ParametersError", message),
        Error::Config(name, reason) => Ok(PyErr::from_value(errors.getattr("ConfigError")?.call1((name, reason))?)),
        Error::Closed(what) => raise("ClosedError", what.into()),
        Error::Send(SendError::Closed) => raise("ClosedError", "forwarder".into()),
        Error::Send(SendError::Full) => {
            let facts = ("commands waiting for one worker", rtpcore_net::MAX_COMMANDS);
            Ok(PyErr::from_value(errors.getattr("LimitError")?.call1(facts)?))
        }
        Error::Start(StartError::System(cause)) => raise("RtpcoreError", format!("the system refused: {cause}")),
        Error::Start(StartError::Bind(address, cause)) => {
            // Without the number that the standard library appends: the exception has it as an attribute.
            let words = cause.to_string();
            let words = words.split(" (os error").next().unwrap_or("refused").to_owned();
            let facts = (address.ip().to_string(), address.port(), cause.raw_os_error().unwrap_or(0), words);
            Ok(PyErr::from_value(errors.getattr("BindError")?.call1(facts)?))
        }
    }
}
