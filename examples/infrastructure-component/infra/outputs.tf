output "greeting" {
  value = terraform_data.greeting.output.text
}

output "url" {
  value = "https://${var.env}.${var.release["component"]}.${var.domain}"
}
