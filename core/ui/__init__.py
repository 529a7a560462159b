"""What the app is made of: the only room that knows streamlit."""
