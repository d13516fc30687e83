"""What stands before pages, API and sockets: who calls, how much they may ask, how errors are answered."""
