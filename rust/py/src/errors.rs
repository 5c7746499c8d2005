//! The one conversion from Rust's errors to the exception tree of `rtpcore.errors`.

use pyo3::prelude::*;
use pyo3::types::PyDict;
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
        Error::Closed(message) => raise("ClosedError", message.into()),
        Error::Send(SendError::Closed) => raise("ClosedError", "the forwarder has been closed".into()),
        Error::Send(SendError::Full) => {
            raise("LimitError", "too many commands wait for one worker; let the event loop run between them".into())
        }
        Error::Start(StartError::System(cause)) => raise("RtpcoreError", format!("the system refused: {cause}")),
        Error::Start(StartError::Bind(address, cause)) => {
            let facts = PyDict::new(py);
            facts.set_item("address", address.to_string())?;
            facts.set_item("reason", cause.to_string())?;
            let raised = errors.getattr("BindError")?.call((), Some(&facts))?;
            if let Some(code) = cause.raw_os_error() {
                raised.setattr("errno", code)?;
            }
            Ok(PyErr::from_value(raised))
        }
    }
}
