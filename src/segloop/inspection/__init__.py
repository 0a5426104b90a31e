"""What attention does to one photo, as arrays (look), pictures and a page: host, feedback and outliers side by side."""
