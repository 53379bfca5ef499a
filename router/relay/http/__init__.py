"""HTTP/1.1 as a worker is spoken to: one strict codec, pure.  What is accepted here, every other reader agrees on."""
