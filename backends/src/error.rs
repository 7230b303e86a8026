//! What can go wrong in making machine code.

/// Why a plan could not be compiled.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// LLVM refused what it was given.
    #[error("LLVM {doing}: {message}")]
    Llvm {
        /// What it was asked to do.
        doing: &'static str,
        /// What it says.
        message: String,
    },
    /// The object file that LLVM made cannot become an image.
    #[error("object code: {0}")]
    Object(String),
    /// There is no code for something that the plan has.
    #[error("there is no code for {0}")]
    Unsupported(String),
}
