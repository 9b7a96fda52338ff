"""The models that the emulator serves: inputs, prices, what their content policy refuses."""
