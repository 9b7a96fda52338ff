"""The emulator as a process: its state folder, its server, how it is found or started."""
