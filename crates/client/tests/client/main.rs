//! The client against a vault that a test scripts: real connections and signatures, invented
//! answers. What it must do when a vault is slow, wrong or lying; that whole clusters work is told
//! by the stories at the top of the repository.

mod calls;
mod log;
mod releases;
mod sealing;
mod support;
