//! A jurisdiction's policy and the rules of a lawful request, as pure functions.
